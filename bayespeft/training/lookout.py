"""How held-out rows judge a run: by the curve of their NLL over steps, at the temperature or noise that fits them best."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from bayespeft.data.examples import Examples
from bayespeft.likelihoods.base import Likelihood
from bayespeft.prediction.predictor import Predictor
from bayespeft.prediction.temperature import GRID, as_weighed, tempered_nlls
from bayespeft.training.history import History
from bayespeft.training.horizon import Verdict, judge, judge_training, margin
from bayespeft.training.noise import at_best_noise, at_own_noise, learns_noise, nll_unit
from bayespeft.training.problem import Problem

# A curve needs this many draws; they are the same at every look.
DRAWS = 3
TEMPERED = "nll at T="
NOISE = "noise"


@dataclass
class CurveLookout:
    """Judges the records that carry a validation, or the training NLL where `held_out` is False.

    What counts as better is said in nats per label, of which an example may have many: `labels` on average.

    Attributes:
        looks: steps at which the loop asks.
        most: the largest number of steps.
        held_out: whether it goes by a validation.
        labels: of an example.
        likelihood: of the problem.
        keeps: the loop keeps the best state.
        beaten_by: the best step and the lowest NLL, nats per label, of another run on the same rows. A run that is past that
            step and past its own best, and still behind, is not worth more steps.
    """

    looks: Collection[int]
    most: int
    held_out: bool
    labels: float
    likelihood: Likelihood
    keeps: bool = False
    beaten_by: tuple[int, float] | None = None

    @property
    def unit(self) -> float:
        """What is taken off an NLL, nats, so that it does not depend on the units of quantities."""
        return nll_unit(self.likelihood)

    def see(self, history: History) -> Verdict:
        """Judge the run so far."""
        if not self.held_out:
            nlls = [(at_own_noise(record.nll, self.likelihood) - self.unit) / self.labels for record in history.records]
            return judge_training([record.step for record in history.records], nlls, self.most)
        steps, nlls = [record.step for record in history.records if record.validation], self._nlls(history)
        verdict = judge(steps, nlls, self.most)
        if verdict.reason is None and self.beaten_by is not None:
            step, lowest = self.beaten_by
            past = steps[-1] >= step and nlls[-1] > min(nlls)
            if past and min(nlls) > lowest + margin(lowest):
                return Verdict(verdict.best, "later states were worse")
        return verdict

    def lowest(self, history: History) -> float:
        """Return the lowest held-out NLL of a run, nats per label."""
        return min(self._nlls(history))

    def _nlls(self, history: History) -> list[float]:
        return [
            (min(curve(record.validation)) - self.unit) / self.labels for record in history.records if record.validation
        ]


def calibrates(problem: Problem) -> bool:
    """Say whether held-out rows choose a temperature."""
    return problem.train.calibrate and problem.likelihood.tempers


def curve(found: Mapping[str, float]) -> tuple[float, ...]:
    """Return the NLL that a `validator` found at each temperature of the grid, or at 1 alone where none is fitted."""
    tempered = [value for name, value in found.items() if name.startswith(TEMPERED)]
    return tuple(tempered) or (found["nll"],)


def validator(problem: Problem, held: Examples) -> Callable[[], dict[str, float]]:
    """Return what measures held-out rows as the problem now stands: `loop.run` calls it at each look."""
    tempers, learns = calibrates(problem), learns_noise(problem.likelihood)
    weighs = bool(problem.likelihood.objective)

    def validate() -> dict[str, float]:
        prediction = Predictor(problem).run(held, DRAWS, problem.seed, keep_draws=tempers or learns or weighs)
        if learns:
            fitted = at_best_noise(prediction)
            return {**fitted.validation_metrics(), NOISE: fitted.noise}
        figures = prediction.validation_metrics()
        if tempers:
            nlls = tempered_nlls(as_weighed(prediction, problem.likelihood))
            figures |= {f"{TEMPERED}{t:.3g}": nll for t, nll in zip(GRID, nlls, strict=True)}
        elif weighs:
            figures[f"{TEMPERED}1"] = as_weighed(prediction, problem.likelihood)(1.0)
        return figures

    return validate
