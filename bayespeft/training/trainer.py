"""The trainer of one fit: it owns the loop, runs it as often as a guide asks, and keeps the state of every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bayespeft.config import TrainConfig
from bayespeft.data.examples import Examples
from bayespeft.guides.base import Values
from bayespeft.guides.point import Point
from bayespeft.layers.factors import StackedFactor
from bayespeft.prediction.predictor import Predictor
from bayespeft.training.held_out import check_free, run_free
from bayespeft.training.history import History
from bayespeft.training.loop import run
from bayespeft.training.noise import at_best_noise, learns_noise
from bayespeft.training.problem import Problem
from bayespeft.training.progress import ProgressBar
from bayespeft.training.resume import States
from bayespeft.variational.joint_guide import JointGuide

VALIDATION_DRAWS = 5


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
        if learns_noise(problem.likelihood):
            rows = problem.examples if self.validation is None else self.validation
            prediction = Predictor(problem).run(rows, VALIDATION_DRAWS, problem.seed, keep_draws=True)
            problem.likelihood = problem.likelihood.replace(noise=at_best_noise(prediction).noise)
        return history

    def point(self) -> tuple[Values, History]:
        """Return the point estimate that post-hoc guides build on, by stack, and how it was trained.

        It is the one that the problem starts from, if there is one, and is trained under the same priors if not.
        """
        stacks = self.problem.stacks
        if self.problem.started:
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
        joint_guide = JointGuide(stacks, Point(), torch.Generator().manual_seed(seed), self.problem.device)
        train = train or self.problem.train
        problem = replace(self.problem, joint_guide=joint_guide, seed=seed, train=train)
        history = self.optimise(problem, **options)
        # A noise that was learned holds for what the guide makes of the point.
        self.problem.likelihood = problem.likelihood
        return {name: value.detach().clone() for name, value in joint_guide.mean().items()}, history

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
