"""The figures of a calibration report beyond its headline: groups of metrics with intervals from the same resamples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy.typing as npt

from bayespeft.report.bootstrap import Interval, Metric, basic, measure
from bayespeft.report.metrics.calibration import calibration_figures
from bayespeft.report.metrics.cells import Cells
from bayespeft.report.metrics.examples import Scores
from bayespeft.report.metrics.selective import COVERAGES, CURVE, RISKS, selective_figures
from bayespeft.report.metrics.tally import Ordered

# Products of numbers that class-wise figures may take: with many examples and classes they are computed on fewer
# resamples, but on no less than the second number, so that a report takes seconds.
WORK, FEWEST = 500_000_000, 50


@dataclass(frozen=True, slots=True)
class CalibrationErrors:
    """How far confidence and accuracy are apart, beyond the two expected calibration errors.

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
    ece_debiased: Metric
    rms_debiased: Metric
    mce: Metric
    smooth_ece: Metric
    brier_reliability: Metric
    brier_resolution: Metric
    brier_uncertainty: Metric
    brier_within: Metric


@dataclass(frozen=True, slots=True)
class At:
    """A figure at a coverage or at a risk, which `at` is."""

    at: float
    figure: Metric


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
        excess_aurc: less the least that this many errors allow.
        augrc: area under the generalised risk.
        error_auroc: P(an error is less confident than a right answer); None where all are right, or all wrong.
        error_average_precision: of errors; None where all are right.
        accuracy_at_coverage: at coverages of 50, 80, 90 and 95 %.
        coverage_at_risk: at risks of 1, 5 and 10 %; optimistic, see `metrics.coverage_at_risk`.
        refusal_gain: accuracy at a coverage of 80 % less that of all.
        curve: risk against coverage.
    """

    aurc: Metric
    excess_aurc: Metric
    augrc: Metric
    error_auroc: Metric | None
    error_average_precision: Metric | None
    accuracy_at_coverage: tuple[At, ...]
    coverage_at_risk: tuple[At, ...]
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
    families = {basic: resamples, calibration_figures: resamples, selective_figures: resamples}
    limit = min(resamples, max(WORK // cells.size, FEWEST))
    found = measure(ordered, {**families, cells: limit}, seed=seed)
    errors = {name: found[name].metric for name in CalibrationErrors.__slots__}
    headline = {name: found[name].metric for name in ("accuracy", "nll", "ece", "ece_equal_mass", "brier")}
    return headline, CalibrationErrors(**errors), _selective(found)


def _selective(found: Mapping[str, Interval]) -> Selective:
    curve = found["risk_at_coverage"].metrics
    return Selective(
        aurc=found["aurc"].metric,
        excess_aurc=found["excess_aurc"].metric,
        augrc=found["augrc"].metric,
        error_auroc=found["error_auroc"].optional,
        error_average_precision=found["error_average_precision"].optional,
        accuracy_at_coverage=_at(COVERAGES, found["accuracy_at_coverage"]),
        coverage_at_risk=_at(RISKS, found["coverage_at_risk"]),
        refusal_gain=found["refusal_gain"].metric,
        curve=Curve(CURVE, tuple(m.value for m in curve), tuple(m.low for m in curve), tuple(m.high for m in curve)),
    )


def _at(where: tuple[float, ...], found: Interval) -> tuple[At, ...]:
    return tuple(At(at, metric) for at, metric in zip(where, found.metrics, strict=True))
