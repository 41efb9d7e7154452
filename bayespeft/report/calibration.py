"""`CalibrationReport`: how good, and how honest, a set of predicted probabilities is. Numbers only.

It is made from log-probabilities and labels, whatever produced them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy.typing as npt

from bayespeft.errors import ConfigError
from bayespeft.report.base import DrawnReport
from bayespeft.report.binning import Bin, score_bins
from bayespeft.report.bootstrap import ece_noise, ece_power, intervals
from bayespeft.report.classes import Classes, by_class
from bayespeft.report.context import Quotes
from bayespeft.report.metric import Figure, Metric, value_of
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.metrics.selective import Curve, curve
from bayespeft.report.metrics.spec import FIRST, table
from bayespeft.report.ood import Separation
from bayespeft.report.over_draws import OverDraws
from bayespeft.report.verdict import POINTS, Verdict, one_sided, two_sided, within_noise
from bayespeft.utils.annotations import MAYBE_NAN, Resamples, Seed
from bayespeft.utils.checks import checked_methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing


@checked_methods
@dataclass(frozen=True, slots=True)
class CalibrationReport(DrawnReport):
    """Metrics of predicted probabilities with 95 % intervals, and what the prediction cost.

    An interval covers the figure that endlessly many examples of the same law would give: see `metrics.intervals`.

    Attributes:
        metrics: every metric of `metrics.spec.table` by name; a number where it has no interval, None where these examples do
            not define it. In JSON and CSV each stands for itself.
        ece_noise: the ECE that a perfectly calibrated model exceeds in 5 % of samples of this size and with these
            confidences; see `bootstrap.ece_noise`.
        power: the share of samples of this size in which an over-confidence of 5 points would exceed `ece_noise`; see
            `bootstrap.ece_power`.
        bins: the equal-width bins, from confidence 0 to 1.
        curve: risk against the share that is answered.
        classes: number of classes.
        majority: the most frequent class, the lowest of equals.
        entropy: mean entropy of the predicted probabilities, in nats: the total uncertainty.
        mutual_information: mean mutual information of label and weights, in nats: the epistemic part of `entropy`.
            None with fewer than two draws, or where draws were not told apart.
        information_is_low: that is too small on average, by an amount that its draws don't tell (`Predictive`).
        by_class: figures of each class and the confusion table; None of more than `classes.MOST`.
        ood: how uncertainty tells other sets from this one, one for each set and score; empty where none was given.
        over_draws: Monte Carlo errors of metrics, and metrics by number of draws; None where draws were not kept.
        quotes: rows of the data that are worth looking at; None where none were asked for.
    """

    WHAT: ClassVar[str] = "a calibration report"
    VIEW: ClassVar[str] = "calibration"

    metrics: dict[str, Figure]
    ece_noise: float
    power: float
    bins: tuple[Bin, ...]
    curve: Curve
    classes: int
    majority: int
    entropy: float
    mutual_information: float | None = None
    information_is_low: bool = False
    by_class: Classes | None = None
    ood: tuple[Separation, ...] = ()
    over_draws: OverDraws | None = None
    quotes: Quotes | None = None

    @classmethod
    def from_log_probs(
        cls,
        log_probs: npt.ArrayLike,
        labels: npt.ArrayLike,
        *,
        mutual_information: Annotated[float, MAYBE_NAN] | None = None,
        information_is_low: bool = False,
        ood: Sequence[Separation] = (),
        over_draws: OverDraws | None = None,
        quotes: Quotes | None = None,
        class_names: Sequence[str] = (),
        seed: Seed = 0,
        resamples: Resamples = 1000,
        **facts: Any,
    ) -> CalibrationReport:
        """Measure predictions.

        Args:
            log_probs: (n, classes), natural-log probabilities, already averaged over draws as probabilities.
            labels: (n,), integers in [0, classes).
            mutual_information, information_is_low: see the class.
            ood: from `ood.separations`.
            over_draws: from `over_draws.over_draws`.
            quotes: from `quotes.quoted`.
            class_names: what classes are called; numbers where there are none.
            seed: of the bootstrap. The report is a function of the arguments.
            resamples: bootstrap samples, and simulated samples for `ece_noise`; fewer where rows are more than 30,000
                (`bootstrap.affordable`).
            facts: the attributes of `Report` from `draws` on.

        Raises:
            DataError: see `metrics.validate`.
            ConfigError: `resamples` is below 1.
        """
        scores = example_scores(log_probs, labels)
        noise = ece_noise(scores.confidence, resamples=resamples, seed=seed)
        return cls(
            metrics=intervals(scores, resamples=resamples, seed=seed),
            ece_noise=noise,
            power=ece_power(scores.confidence, noise, POINTS, resamples=resamples, seed=seed),
            bins=score_bins(scores.confidence, scores.correct),
            curve=curve(scores),
            n=len(scores),
            classes=scores.classes,
            majority=scores.majority,
            entropy=float(scores.entropy.mean()),
            mutual_information=mutual_information,
            information_is_low=information_is_low,
            by_class=by_class(scores, class_names),
            ood=tuple(ood),
            over_draws=over_draws,
            quotes=quotes,
            **facts,
        )

    def to_dict(self) -> dict[str, Any]:
        """As the base, with each metric under its own name."""
        plain = super(CalibrationReport, self).to_dict()  # by name: slots make the class anew
        return {**plain.pop("metrics"), **plain}

    @classmethod
    def _read(cls, values: dict[str, Any]) -> CalibrationReport:
        """As the base; metrics that were registered after the report was written are left out."""
        if not isinstance(values, dict):
            raise TypeError(f"a dictionary is expected, this is {values!r}")
        own = {spec.name for spec in table(FIRST)}
        metrics = {}
        for spec in table():
            if spec.name in values or spec.name in own:
                metrics[spec.name] = figure = values[spec.name]
                if isinstance(figure, dict):
                    wrong = spec.interval is None
                else:
                    wrong = figure is not None and spec.interval is not None and not spec.interval.lacking
                if wrong:
                    raise TypeError(f"{spec.name} is {figure!r}")
        return super(CalibrationReport, cls)._read({**values, "metrics": metrics})

    def metric(self, name: str) -> Metric:
        """Return a metric with its interval.

        Raises:
            ConfigError: there is none of that name, or it has no interval here.
        """
        found = self.metrics.get(name)
        if not isinstance(found, Metric):
            known = ", ".join(key for key, value in self.metrics.items() if isinstance(value, Metric))
            raise ConfigError(f"there is no metric {name!r} with an interval, but {known}.")
        return found

    @property
    def accuracy(self) -> Metric:
        """Fraction of examples whose most probable class is the label."""
        return self.metric("accuracy")

    @property
    def nll(self) -> Metric:
        """Mean negative log-likelihood, in nats per example."""
        return self.metric("nll")

    @property
    def ece(self) -> Metric:
        """Expected calibration error over 15 bins of equal width, as a fraction."""
        return self.metric("ece")

    @property
    def ece_equal_mass(self) -> Metric:
        """The same over 15 bins of equal mass."""
        return self.metric("ece_equal_mass")

    @property
    def brier(self) -> Metric:
        """Mean squared error of the probabilities summed over classes, in [0, 2]."""
        return self.metric("brier")

    @property
    def confidence(self) -> float:
        """Mean confidence: the accuracy that the predictions claim."""
        return sum(b.count * b.confidence for b in self.bins if b.confidence is not None) / self.n

    @property
    def verdict(self) -> Verdict:
        """What the figures say; see `verdict.Verdict` for its kinds and the test.

        An ECE above `ece_noise` is "over" or "under" if |mean confidence - accuracy| is at least half of it, which is to say
        that three quarters of all gap between the two has one sign; else it is "both", by the ECE.
        """
        gap, ece = self.confidence - self.accuracy.value, self.ece.value
        if ece > self.ece_noise + 1e-9:  # the two are sums in different orders: equal means equal up to rounding
            return one_sided(gap, ece, "It is") or two_sided(ece, "rows")
        skill = self.metrics["skill"]
        skill = skill if isinstance(skill, Metric) else None
        return within_noise(self.n, self.ece_noise, self.power, skill, f"every row the base rates ({self.trivial})")

    @property
    def trivial(self) -> str:
        """What the trivial answer reaches, in words."""
        skill, share = (value_of(self.metrics[name]) for name in ("skill", "base_accuracy"))
        if skill is None or share is None:
            return "all rows are of one class"
        name = f"{self.majority}" if self.by_class is None else self.by_class.figures[self.majority].name
        return f"always answering {name!r} is right in {100 * share:.1f} %, skill {100 * skill:.0f} %"

    @property
    def refusing(self) -> str:
        """What refusing the least certain fifth does to accuracy, in words."""
        kept, gain = self.metric("accuracy_at_coverage.0.8").value, self.metric("refusal_gain")
        before, after = 100 * (kept - gain.value), 100 * kept
        if gain.low > 0:
            return f"refuse the least certain 20 % and accuracy rises from {before:.1f} to {after:.1f} %"
        if gain.high < 0:
            return f"refusing the least certain 20 % lowers accuracy from {before:.1f} to {after:.1f} %"
        return f"refusing the least certain 20 % does not clearly help: accuracy {before:.1f} to {after:.1f} %"

    @property
    def headline(self) -> str:
        """The verdict with the numbers behind it, the trivial answer, and what refusing the least certain fifth would do."""
        return (
            f"{self.verdict} (confidence {100 * self.confidence:.1f} %, accuracy {100 * self.accuracy.value:.1f} %, "
            f"ECE {100 * self.ece.value:.1f} %); {self.trivial}; {self.refusing}"
        )

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Drawing:
        """Draw the reliability diagram and return its figure.

        Args:
            path: where to save it: .png, .svg or .pdf.
            ax: axes to draw into, without the histogram; left out, a new figure with the histogram.

        Raises:
            ConfigError: the suffix of `path` is none of these.
        """
        figure: Drawing = self.view.plot(self, path, ax=ax)
        return figure
