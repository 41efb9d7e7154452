"""`CalibrationReport`: how good, and how honest, a set of predicted probabilities is. Numbers only.

It is made from log-probabilities and labels, whatever produced them; it reads and writes JSON, prints as a table, and
draws itself through `plots`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from bayespeft.report.base import DrawnReport
from bayespeft.report.baseline import Baseline, baseline
from bayespeft.report.binning import Bin, score_bins
from bayespeft.report.bootstrap import ece_noise, ece_power
from bayespeft.report.classes import Classes, by_class
from bayespeft.report.context import Quotes
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.examples import example_scores, validate
from bayespeft.report.ood import Separation
from bayespeft.report.over_draws import OverDraws
from bayespeft.report.sections import CalibrationErrors, Selective, sections
from bayespeft.report.verdict import LEAST_POWER, POINTS, Kind, Verdict, rows, too_few
from bayespeft.utils.checks import MAYBE_NAN, Resamples, Seed, checked_methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked_methods
@dataclass(frozen=True, slots=True)
class CalibrationReport(DrawnReport):
    """Metrics of predicted probabilities with 95 % intervals, and what the prediction cost.

    An interval covers the figure that endlessly many examples of the same law would give: see `bootstrap`, `proportions` of
    the accuracy, and `deviation` of calibration errors, whose bins stay the same.

    Attributes:
        accuracy: fraction of examples whose most probable class is the label.
        nll: mean negative log-likelihood, in nats per example.
        ece: expected calibration error over 15 bins of equal width, as a fraction.
        ece_equal_mass: the same over 15 bins of equal mass.
        brier: mean squared error of the probabilities summed over classes, in [0, 2].
        ece_noise: the ECE that a perfectly calibrated model exceeds in 5 % of samples of this size and with these
            confidences; see `bootstrap.ece_noise`.
        bins: the equal-width bins, from confidence 0 to 1.
        power: the share of samples of this size in which an over-confidence of 5 points would exceed `ece_noise`; see
            `bootstrap.ece_power`. None in reports of an earlier version, as are the next two.
        baseline: the trivial answer, and how much better this one is.
        by_class: figures of each class and the confusion table; None also of more than `classes.MOST`.
        classes: number of classes.
        entropy: mean entropy of the predicted probabilities, in nats: the total uncertainty.
        mutual_information: mean mutual information of label and weights, in nats: the epistemic part of `entropy`.
            None with fewer than two draws, or where draws were not told apart.
        errors: further calibration errors and the parts of the Brier score; None in reports of an earlier version.
        selective: what refusing the least certain examples does; None in reports of an earlier version.
        ood: how uncertainty tells other sets from this one, one for each set and score; empty where none was given.
        over_draws: Monte Carlo errors of figures, and figures by number of draws; None where draws were not kept.
        quotes: rows of the data that are worth looking at; None where none were asked for.
    """

    accuracy: Metric
    nll: Metric
    ece: Metric
    ece_equal_mass: Metric
    brier: Metric
    ece_noise: float
    bins: tuple[Bin, ...]
    WHAT: ClassVar[str] = "a calibration report"
    VIEW: ClassVar[str] = "calibration"

    classes: int
    entropy: float
    mutual_information: float | None = None
    power: float | None = None
    baseline: Baseline | None = None
    by_class: Classes | None = None
    errors: CalibrationErrors | None = None
    selective: Selective | None = None
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
            mutual_information: see the class.
            ood: from `ood.separations`.
            over_draws: from `over_draws.over_draws`.
            quotes: from `context.quotes`.
            class_names: what classes are called; numbers where there are none.
            seed: of the bootstrap. The report is a function of the arguments.
            resamples: bootstrap samples, and simulated samples for `ece_noise`.
            facts: the attributes of `Report` from `draws` on.

        Raises:
            DataError: see `metrics.validate`.
            ConfigError: `resamples` is below 1.
        """
        scores = example_scores(log_probs, labels)
        headline, errors, selective = sections(scores, log_probs, labels, resamples=resamples, seed=seed)
        figures: dict[str, Any] = {**headline, **facts}
        noise = ece_noise(scores.confidence, resamples=resamples, seed=seed)
        probs, checked = validate(log_probs, labels)
        probs = np.exp(probs)
        return cls(
            **figures,
            ece_noise=noise,
            power=ece_power(scores.confidence, noise, POINTS, resamples=resamples, seed=seed),
            baseline=baseline(scores.nll, checked, scores.classes, resamples=resamples, seed=seed),
            by_class=by_class(probs / probs.sum(axis=1, keepdims=True), checked, class_names),
            bins=score_bins(scores.confidence, scores.correct),
            n=len(scores),
            classes=scores.classes,
            entropy=float(scores.entropy.mean()),
            mutual_information=None if mutual_information is None else float(mutual_information),
            errors=errors,
            selective=selective,
            ood=tuple(ood),
            over_draws=over_draws,
            quotes=quotes,
        )

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
            if abs(gap) < ece / 2:
                text = f"over- and under-confident by {100 * ece:.1f} points"
                return Verdict("both", text, "It claims too much for some rows and too little for others.", ece)
            kind: Kind = "over" if gap > 0 else "under"
            less = f"It is {'less' if gap > 0 else 'more'} often right than it claims."
            return Verdict(kind, f"{kind}-confident by {100 * abs(gap):.1f} points", less, abs(gap))
        if self.power is not None and self.power < LEAST_POWER:
            return too_few(self.n, self.ece_noise, self.power, "a model that claims 5 points too much")
        if self.baseline is not None and not self.baseline.beaten:
            reason = (
                f"Its probabilities are not shown to be better than giving every row the base rates ({self.trivial})."
            )
            return Verdict("no_skill", "no better than the base rates", reason)
        reason = f"What it claims is what it keeps, as far as {rows(self.n)} can show."
        return Verdict("calibrated", f"well calibrated, as far as {rows(self.n)} show{'s' * (self.n == 1)}", reason)

    @property
    def trivial(self) -> str:
        """What the trivial answer reaches, in words."""
        base = self.baseline
        if base is None:
            return "unknown"
        if base.skill is None:
            return "all rows are of one class"
        name = f"{base.majority}" if self.by_class is None else self.by_class.figures[base.majority].name
        return (
            f"always answering {name!r} is right in {100 * base.accuracy:.1f} %, skill {100 * base.skill.value:.0f} %"
        )

    @property
    def headline(self) -> str:
        """The verdict with the numbers behind it, the trivial answer, and what refusing the least certain fifth would do."""
        text = (
            f"{self.verdict} (confidence {100 * self.confidence:.1f} %, accuracy {100 * self.accuracy.value:.1f} %, "
            f"ECE {100 * self.ece.value:.1f} %)"
        )
        text += "" if self.baseline is None else f"; {self.trivial}"
        return text if self.selective is None else f"{text}; {self.selective.sentence}"

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Figure:
        """Draw the reliability diagram and return its figure.

        Args:
            path: where to save it: .png, .svg or .pdf.
            ax: axes to draw into, without the histogram; left out, a new figure with the histogram.

        Raises:
            ConfigError: the suffix of `path` is none of these.
        """
        figure: Figure = self.view.plot(self, path, ax=ax)
        return figure
