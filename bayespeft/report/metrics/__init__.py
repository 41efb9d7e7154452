"""Metrics of predicted probabilities: pure functions over examples.

Every metric is a function of the same two arrays: `log_probs` (n, classes), natural-log probabilities, and `labels`
(n,), integers. Those of `detection` take scores, those of `conformal` probabilities.
"""

from bayespeft.report.binning import equal_mass_error, equal_width_error
from bayespeft.report.metrics.calibration import (
    bins,
    confidence_gap,
    ece,
    ece_debiased,
    ece_equal_mass,
    mce,
    rms_debiased,
    smooth_ece,
)
from bayespeft.report.metrics.cells import brier_parts, ece_classwise
from bayespeft.report.metrics.detection import auroc, average_precision, false_positive_rate
from bayespeft.report.metrics.examples import LOG_ZERO, SUM_TOLERANCE, Scores, example_scores, validate
from bayespeft.report.metrics.proper import accuracy, brier, nll, skill
from bayespeft.report.metrics.selective import (
    accuracy_at_coverage,
    augrc,
    aurc,
    coverage_at_risk,
    error_auroc,
    error_average_precision,
    excess_aurc,
    risk_coverage,
)

__all__ = [
    "LOG_ZERO", "SUM_TOLERANCE", "Scores", "accuracy", "accuracy_at_coverage", "augrc", "auroc", "aurc",
    "average_precision", "bins", "brier", "brier_parts", "confidence_gap", "coverage_at_risk", "ece", "ece_classwise",
    "ece_debiased", "ece_equal_mass", "equal_mass_error", "equal_width_error", "error_auroc", "error_average_precision",
    "example_scores", "excess_aurc", "false_positive_rate", "mce", "nll", "risk_coverage", "rms_debiased", "skill",
    "smooth_ece", "validate",
]  # fmt: skip
