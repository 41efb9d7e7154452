"""Metrics over examples, calibration reports, plots."""

from bayespeft.report.binning import Bin
from bayespeft.report.bootstrap import Metric
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.regression import Coverage, RegressionReport

__all__ = ["Bin", "CalibrationReport", "Coverage", "Metric", "RegressionReport"]
