"""The trainer of one fit: it owns the loop, runs it as often as a guide asks, and keeps the state of every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from bayespeft.config import TrainConfig
from bayespeft.data.examples import Examples
from bayespeft.guides.base import Rescaled, Values
from bayespeft.guides.point import Point
from bayespeft.layers.factors import StackedFactor
from bayespeft.likelihoods.regression import Regression
from bayespeft.prediction.predictor import Predictor
from bayespeft.predictive.normal import RegressionPredictive
from bayespeft.training.held_out import check_free, run_free
from bayespeft.training.history import History
from bayespeft.training.loop import run
from bayespeft.training.noise import at_best_noise, beside_spread, learns_noise, log_likelihood_under
from bayespeft.training.problem import Problem
from bayespeft.training.progress import ProgressBar
from bayespeft.training.resume import States
from bayespeft.variational.joint_guide import JointGuide

VALIDATION_DRAWS = 5
# The variance that a posterior adds is a mean over this many training rows.
SPREAD_ROWS = 100


@dataclass
class Trainer:
    """Fits a problem: what a guide asks of the loop, and what the user wants to see and to keep of it.

    Attributes:
        problem: what is fitted.
        title: stands before a progress bar; None shows none.
        validation: labelled examples that are no training data; what a run is judged by goes into its history.
        states: keeps the state of each run, so that one which was interrupted goes on; None keeps none.
    """

    problem: Problem
    title: str | None = None
    validation: Examples | None = None
    states: States | None = None
    _noise_of_point: bool = field(default=False, init=False)

    def fit(self) -> History:
        """Fit the guide, by whatever way it takes, and return the history."""
        history: History = self.problem.joint_guide.latent.fit(self)
        return history

    def optimise(self, problem: Problem | None = None, **options: Any) -> History:
        """Run the loop, as long as the settings say or as held-out rows do, and return its history.

        Args:
            problem: what to fit; by default the trainer's own.
            options: as `bayespeft.training.loop.run`.

        Raises:
            ConfigError: the settings leave the number of steps to the run, and the guide or the adapter can't.
        """
        problem = self.problem if problem is None else problem
        if isinstance(problem.train.steps, str):
            check_free(problem, options)
            history = run_free(problem, self._run, self.validation)
        else:
            # The prior comes slowly where somebody chooses along the path, and nobody does here.
            at_once = replace(problem, train=problem.train.replace(kl_pace=0))
            history = self._run(at_once, validate=self._validator(problem), **options)
        self._find_noise(problem)
        return history

    def point(self) -> tuple[Values, History]:
        """Return the point estimate that post-hoc guides build on, by stack, and how it was trained.

        It is the one that the problem starts from, if there is one, and is trained under the same priors if not.
        """
        stacks = self.problem.stacks
        if self.problem.started:
            if learns_noise(self.problem.likelihood):
                started = replace(self.problem, joint_guide=self._point_guide(stacks, self.problem.seed))
                self._find_noise(started)
                self._adopt_noise(started, unseen=self.validation is not None)
            return {stack.name: stack.init.to(self.problem.device) for stack in stacks}, History()
        return self.train_point(stacks, self.problem.seed)

    def train_point(
        self, stacks: Sequence[StackedFactor], seed: int, train: TrainConfig | None = None, **options: Any
    ) -> tuple[Values, History]:
        """Train a point estimate of all stacks, from their initial values.

        Args:
            stacks: the factors and their priors.
            seed: of data order and noise.
            train: settings, where they differ from the problem's.
            options: as `bayespeft.training.loop.run`.

        Returns:
            Values by stack (layers, ...), and the history.
        """
        joint_guide = self._point_guide(stacks, seed)
        train = train or self.problem.train
        problem = replace(self.problem, joint_guide=joint_guide, seed=seed, train=train)
        history = self.optimise(problem, **options)
        held_out = history.ended is not None and history.ended.held_out > 0
        self._adopt_noise(problem, unseen=held_out or self.validation is not None)
        return {name: value.detach().clone() for name, value in joint_guide.mean().items()}, history

    def part_noise(self, guide: Rescaled, log_likelihood: float) -> None:
        """Take what a guide spreads around the point off a noise that was given to that point's whole error.

        Errors on training rows, which the point has fitted, are no such noise: the spread then adds what they lack.

        Args:
            guide: as fitted under the noise of the point.
            log_likelihood: of the training data at the point, nats.
        """
        if not self._noise_of_point:
            return
        problem = self.problem
        likelihood = problem.likelihood
        assert isinstance(likelihood, Regression)
        whole = at = likelihood.sigma
        count = len(problem.examples) * max(1, len(likelihood.center))
        order = torch.randperm(len(problem.examples), generator=torch.Generator().manual_seed(problem.seed))
        some = problem.examples.subset(order[:SPREAD_ROWS]) or problem.examples

        def turn_to(noise: float) -> None:
            nonlocal at
            guide.rescale((at / noise) ** 2, log_likelihood_under(noise, whole, log_likelihood, count))
            problem.likelihood, at = likelihood.replace(noise=noise), noise

        def spread(noise: float) -> float:
            turn_to(noise)
            found = Predictor(problem).linearised(some, problem.seed)
            assert isinstance(found, RegressionPredictive)
            return float(found.epistemic.mean())

        turn_to(beside_spread(whole, spread))

    def _point_guide(self, stacks: Sequence[StackedFactor], seed: int) -> JointGuide:
        return JointGuide(stacks, Point(), torch.Generator().manual_seed(seed), self.problem.device)

    def _find_noise(self, problem: Problem) -> None:
        """Give a regression whose noise nobody gave or found the one under which validation or training is most probable."""
        if learns_noise(problem.likelihood):
            rows = problem.examples if self.validation is None else self.validation
            prediction = Predictor(problem).run(rows, VALIDATION_DRAWS, problem.seed, keep_draws=True)
            problem.likelihood = problem.likelihood.replace(noise=at_best_noise(prediction).noise)

    def _adopt_noise(self, point: Problem, unseen: bool) -> None:
        """Take over the noise of a point, which holds for what the guide makes of it; `unseen`: rows gave it that are new."""
        self._noise_of_point = unseen and learns_noise(self.problem.likelihood)
        self.problem.likelihood = point.likelihood

    def _run(self, problem: Problem, part: str = "", **options: Any) -> History:
        """Run the loop once; `part` says which run of several it is."""
        bar = None if self.title is None else ProgressBar(", ".join(filter(None, (self.title, part))))
        if self.states is not None:
            options["checkpoint"] = self.states.of_next_run(problem, self.validation)
        return run(problem, bar, **options)

    def _validator(self, problem: Problem) -> Callable[[], dict[str, float]] | None:
        examples = self.validation
        if examples is None:
            return None
        return lambda: Predictor(problem).run(examples, VALIDATION_DRAWS, problem.seed).validation_metrics()
