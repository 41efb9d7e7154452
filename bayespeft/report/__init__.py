"""Metrics over examples, calibration reports, decisions, plots."""

from bayespeft.report.binning import Bin
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.conformal import Conformal, ConformalReport
from bayespeft.report.decision import Decision
from bayespeft.report.metric import Metric
from bayespeft.report.regression import Coverage, RegressionReport

__all__ = [
    "Bin",
    "CalibrationReport",
    "Conformal",
    "ConformalReport",
    "Coverage",
    "Decision",
    "Metric",
    "RegressionReport",
]
