"""The figures of a calibration report beyond its headline: groups of metrics with intervals from the same resamples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayespeft.report.bootstrap import Interval, basic, headline, mean_intervals, measure
from bayespeft.report.deviation import deviation
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.calibration import calibration_figures
from bayespeft.report.metrics.cells import PARTS, Cells
from bayespeft.report.metrics.examples import Scores
from bayespeft.report.metrics.selective import COVERAGES, CURVE, RISKS, kept_at, selective_figures
from bayespeft.report.metrics.tally import Ordered, Tally
from bayespeft.report.proportions import proportion

PLAIN = ("ece_debiased", "rms_debiased", "mce", "smooth_ece")
"""Calibration errors of the sample, without an interval."""

# Products of numbers that class-wise figures may take: with many examples and classes they are computed on fewer
# resamples, but on no less than the second number, so that a report takes seconds.
WORK, FEWEST = 500_000_000, 50


@dataclass(frozen=True, slots=True)
class CalibrationErrors:
    """How far confidence and accuracy are apart, beyond the two expected calibration errors.

    Those without an interval are figures of the sample: noise adds to them, and no interval was found that covers the
    population's.

    Attributes:
        confidence_gap: mean confidence less accuracy: positive is over-confident. `metrics.confidence_gap`
        ece_classwise: `metrics.ece_classwise`.
        ece_debiased: `metrics.ece_debiased`.
        rms_debiased: `metrics.rms_debiased`.
        mce: `metrics.mce`.
        smooth_ece: `metrics.smooth_ece`.
        brier_reliability: part of the Brier score, as are the following; see `metrics.brier_parts`.
        brier_resolution: subtracts from it.
        brier_uncertainty: that of the labels' frequencies alone.
        brier_within: what bins hide.
    """

    confidence_gap: Metric
    ece_classwise: Metric
    ece_debiased: float
    rms_debiased: float
    mce: float
    smooth_ece: float
    brier_reliability: float
    brier_resolution: float
    brier_uncertainty: float
    brier_within: float


@dataclass(frozen=True, slots=True)
class At:
    """A figure at a coverage of `at`."""

    at: float
    figure: Metric


@dataclass(frozen=True, slots=True)
class Reached:
    """The share that is answered at a risk of `at`."""

    at: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The risk-coverage curve at coverages of 2, 4, ..., 100 %, with pointwise intervals of the risk."""

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Selective:
    """What refusing the least certain examples would do; see `metrics.selective` for the definitions.

    Attributes:
        aurc: area under the risk-coverage curve.
        excess_aurc: less the least that this many errors allow; of these rows, as resampling does not cover it.
        augrc: area under the generalised risk.
        error_auroc: P(an error is less confident than a right answer); None where all are right, or all wrong.
        error_average_precision: of errors, of these rows, as resampling does not cover it; None where all are right.
        accuracy_at_coverage: at coverages of 50, 80, 90 and 95 %.
        coverage_at_risk: at risks of 1, 5 and 10 %; optimistic, see `metrics.coverage_at_risk`.
        refusal_gain: accuracy at a coverage of 80 % less that of all.
        curve: risk against coverage.
    """

    aurc: Metric
    excess_aurc: float
    augrc: Metric
    error_auroc: Metric | None
    error_average_precision: float | None
    accuracy_at_coverage: tuple[At, ...]
    coverage_at_risk: tuple[Reached, ...]
    refusal_gain: Metric
    curve: Curve

    @property
    def sentence(self) -> str:
        """What refusing the least certain fifth does to accuracy, in words."""
        kept = next(at.figure.value for at in self.accuracy_at_coverage if at.at == 0.8)
        before, after = 100 * (kept - self.refusal_gain.value), 100 * kept
        if self.refusal_gain.low > 0:
            return f"refuse the least certain 20 % and accuracy rises from {before:.1f} to {after:.1f} %"
        if self.refusal_gain.high < 0:
            return f"refusing the least certain 20 % lowers accuracy from {before:.1f} to {after:.1f} %"
        return f"refusing the least certain 20 % does not clearly help: accuracy {before:.1f} to {after:.1f} %"


def sections(
    scores: Scores, log_probs: npt.ArrayLike, labels: npt.ArrayLike, *, resamples: int, seed: int
) -> tuple[dict[str, Metric], CalibrationErrors, Selective]:
    """Return the headline metrics by name, and both groups, from the same resamples.

    Args:
        scores: of the following.
        log_probs: (n, K).
        labels: (n,).
        resamples: number of bootstrap samples. The class-wise figures, which take n K numbers each time, are computed on
            the first of them only where all would take too long.
        seed: of the bootstrap.

    Raises:
        ConfigError: `resamples` is below 1.
    """
    ordered = Ordered.of(scores)
    cells = Cells(log_probs, labels, ordered.order)
    limit = min(resamples, max(WORK // cells.size, FEWEST))
    found = measure(ordered, {basic: resamples, selective_figures: resamples, cells: limit}, seed=seed)
    sample = calibration_figures(Tally.whole(scores))
    errors = {name: float(sample[name][0]) for name in PLAIN} | {
        f"brier_{name}": float(found[f"brier_{name}"].values) for name in PARTS
    }
    gap = ordered.confidence - ordered.correct
    classwise = found["ece_classwise"]
    return (
        headline(ordered, found),
        CalibrationErrors(
            confidence_gap=mean_intervals({"gap": gap}, resamples=resamples, seed=seed)["gap"],
            ece_classwise=deviation(
                float(classwise.values), found["ece_classwise_distance"].draws, cells.square, len(ordered)
            ),
            **errors,
        ),
        _selective(found, len(ordered)),
    )


def _selective(found: Mapping[str, Interval], n: int) -> Selective:
    reached = zip(RISKS, found["coverage_at_risk"].values, strict=True)
    curve = [
        At(at, _kept(1 - float(risk), at, n)) for at, risk in zip(CURVE, found["risk_at_coverage"].values, strict=True)
    ]
    return Selective(
        aurc=found["aurc"].metric,
        excess_aurc=float(found["excess_aurc"].values),
        augrc=found["augrc"].metric,
        error_auroc=found["error_auroc"].optional,
        error_average_precision=_defined(found["error_average_precision"]),
        accuracy_at_coverage=tuple(
            At(at, _kept(float(accuracy), at, n))
            for at, accuracy in zip(COVERAGES, found["accuracy_at_coverage"].values, strict=True)
        ),
        coverage_at_risk=tuple(Reached(at, float(coverage)) for at, coverage in reached),
        refusal_gain=found["refusal_gain"].metric,
        curve=Curve(
            CURVE,
            tuple(1 - at.figure.value for at in curve),
            tuple(1 - at.figure.high for at in curve),
            tuple(1 - at.figure.low for at in curve),
        ),
    )


def _defined(found: Interval) -> float | None:
    """The figure of the sample, without an interval; None where the sample does not define it."""
    return None if np.isnan(found.values) else float(found.values)


def _kept(accuracy: float, coverage: float, n: int) -> Metric:
    """The accuracy of the most confident share, as a proportion among as many examples as that."""
    return proportion(accuracy, kept_at(coverage, n))
