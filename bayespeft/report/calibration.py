"""`CalibrationReport`: how good, and how honest, a set of predicted probabilities is. Numbers only.

It is made from log-probabilities and labels, whatever produced them; it reads and writes JSON, prints as a table, and
draws itself through `plots`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy.typing as npt

from bayespeft.report.base import DrawnReport
from bayespeft.report.binning import Bin, score_bins
from bayespeft.report.bootstrap import Metric, ece_noise
from bayespeft.report.context import Quotes
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.ood import Separation
from bayespeft.report.over_draws import OverDraws
from bayespeft.report.sections import CalibrationErrors, Selective, sections
from bayespeft.report.table import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayespeft.report.page import Page


@dataclass(frozen=True, slots=True)
class CalibrationReport(DrawnReport):
    """Metrics of predicted probabilities with 95 % bootstrap intervals, and what the prediction cost.

    Attributes:
        accuracy: fraction of examples whose most probable class is the label.
        nll: mean negative log-likelihood, in nats per example.
        ece: expected calibration error over 15 bins of equal width, as a fraction.
        ece_equal_mass: the same over 15 bins of equal mass.
        brier: mean squared error of the probabilities summed over classes, in [0, 2].
        ece_noise: the ECE that a perfectly calibrated model exceeds in 5 % of samples of this size and with these
            confidences; see `bootstrap.ece_noise`.
        bins: the equal-width bins, from confidence 0 to 1.
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

    classes: int
    entropy: float
    mutual_information: float | None = None
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
        mutual_information: float | None = None,
        ood: Sequence[Separation] = (),
        over_draws: OverDraws | None = None,
        quotes: Quotes | None = None,
        seed: int = 0,
        resamples: int = 1000,
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
        return cls(
            **figures,
            ece_noise=ece_noise(scores.confidence, resamples=resamples, seed=seed),
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
    def verdict(self) -> str:
        """In a few words: which way, and by how much, confidence and accuracy differ.

        - "well calibrated, as far as n examples show": the ECE is within `ece_noise`. With few examples that is a
          weak statement, so their number is part of it.
        - "over-confident by x points" or "under-confident by x points": x is |mean confidence - accuracy|, if that
          is at least half of the ECE, which is to say that three quarters of all gap between the two has one sign.
        - "over- and under-confident by x points": otherwise; x is the ECE.
        """
        gap, ece = self.confidence - self.accuracy.value, self.ece.value
        if ece <= self.ece_noise + 1e-9:  # the two are sums in different orders: equal means equal up to rounding
            return f"well calibrated, as far as {self.n:,} {'example shows' if self.n == 1 else 'examples show'}"
        if abs(gap) < ece / 2:
            return f"over- and under-confident by {100 * ece:.1f} points"
        return f"{'over' if gap > 0 else 'under'}-confident by {100 * abs(gap):.1f} points"

    @property
    def headline(self) -> str:
        """The verdict with the numbers behind it, and what refusing the least certain fifth would do."""
        text = (
            f"{self.verdict} (confidence {100 * self.confidence:.1f} %, accuracy {100 * self.accuracy.value:.1f} %, "
            f"ECE {100 * self.ece.value:.1f} %)"
        )
        return text if self.selective is None else f"{text}; {self.selective.sentence}"

    def __str__(self) -> str:
        return table(self)

    def page(self) -> Page:
        """Return what a page about this report says."""
        from bayespeft.report.calibration_page import page  # here: only pages need it

        return page(self)

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Figure:
        """Draw the reliability diagram and return its figure.

        Args:
            path: where to save it: .png, .svg or .pdf.
            ax: axes to draw into, without the histogram; left out, a new figure with the histogram.

        Raises:
            ConfigError: the suffix of `path` is none of these.
        """
        from bayespeft.report import plots  # here: matplotlib takes half a second, and numbers don't need it

        if ax is None:
            figure = plots.reliability({self.method or self.name or "model": self})
        else:
            figure = plots.draw_reliability(ax, self)
        if path is not None:
            plots.save(figure, path)
        return figure
