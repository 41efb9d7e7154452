"""What predictions are worth: metrics with intervals, reports, conformal sets, decisions. Pictures are made in `view`."""

from bayespeft.report.binning import Bin
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.conformal import Conformal, ConformalReport
from bayespeft.report.conformal_intervals import ConformalIntervals, IntervalReport
from bayespeft.report.conformal_labels import ConformalLabels, LabelSetsReport
from bayespeft.report.decision import Decision
from bayespeft.report.metric import Metric
from bayespeft.report.mixture import MixtureReport
from bayespeft.report.multi_label import MultiLabelReport
from bayespeft.report.regression import Coverage, RegressionReport
from bayespeft.report.selection import Rule
from bayespeft.report.tokens import TokenReport
from bayespeft.report.verdict import Verdict

__all__ = [
    "Bin",
    "CalibrationReport",
    "Conformal",
    "ConformalIntervals",
    "ConformalLabels",
    "ConformalReport",
    "Coverage",
    "Decision",
    "IntervalReport",
    "LabelSetsReport",
    "Metric",
    "MixtureReport",
    "MultiLabelReport",
    "RegressionReport",
    "Rule",
    "TokenReport",
    "Verdict",
]
