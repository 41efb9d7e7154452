"""All figures of a calibration report, in the table of its page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bayespeft.report.bootstrap import Metric
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.page import Section, Table, interval_below
from bayespeft.report.table import UNKNOWN, percent_cells, plain_cells


class _Line(NamedTuple):
    """A figure, its title, a remark, whether it is shown in percent, and its key among the errors over draws."""

    title: str
    metric: Metric | None
    remark: str = ""
    percent: bool = False
    key: str = ""


def all_figures(report: CalibrationReport) -> Section:
    """Return the section of all figures, with their errors over draws where these are known."""
    errors = {} if report.over_draws is None else report.over_draws.errors or {}
    header = ("", "value, 95 % interval", *(["± over draws"] if errors else []))
    rows = []
    for line in _lines(report):
        write = percent_cells if line.percent else plain_cells
        cell = UNKNOWN if line.metric is None else interval_below(write(line.metric))
        cells = (cell, _error(errors.get(line.key), line.percent)) if errors else (cell,)
        rows.append((line.title, line.remark, cells))
    return Section("All figures", tables=(Table(header, tuple(rows)),))


def _lines(report: CalibrationReport) -> Iterator[_Line]:
    yield _Line("Accuracy", report.accuracy, "", True, "accuracy")
    yield _Line("NLL", report.nll, "nats per example", key="nll")
    yield _Line("Brier score", report.brier, "squared error of probabilities, summed over classes", key="brier")
    yield _Line("ECE", report.ece, "15 bins of equal width", True, "ece")
    yield _Line("ECE, equal mass", report.ece_equal_mass, "15 bins of equally many examples", True, "ece_equal_mass")
    if report.errors is not None:
        found = report.errors
        yield _Line(
            "Confidence less accuracy", found.confidence_gap, "positive is over-confident", True, "confidence_gap"
        )
        yield _Line(
            "ECE, class-wise", found.ece_classwise, "of each class's probability, averaged", True, "ece_classwise"
        )
        yield _Line("ECE, debiased", found.ece_debiased, "less what noise in bins adds", True, "ece_debiased")
        yield _Line("RMS calibration error, debiased", found.rms_debiased, "", True, "rms_debiased")
        yield _Line("MCE", found.mce, "the bin that is most wrong, however few are in it", True, "mce")
        yield _Line("Smooth ECE", found.smooth_ece, "without bins", True, "smooth_ece")
        yield _Line(
            "Brier: reliability",
            found.brier_reliability,
            "of each class's probability, in bins; less is better",
            key="brier_reliability",
        )
        yield _Line("Brier: resolution", found.brier_resolution, "more is better", key="brier_resolution")
        yield _Line("Brier: uncertainty", found.brier_uncertainty, "of labels alone")
        yield _Line("Brier: within bins", found.brier_within, "what bins hide", key="brier_within")
    if report.selective is not None:
        kept = report.selective
        yield _Line("AURC", kept.aurc, "area under the risk-coverage curve", key="aurc")
        yield _Line("Excess AURC", kept.excess_aurc, "less the least that so many errors allow", key="excess_aurc")
        yield _Line("AUGRC", kept.augrc, "area under the generalised risk", key="augrc")
        yield _Line(
            "AUROC of errors", kept.error_auroc, "an error is less confident than a right answer", key="error_auroc"
        )
        yield _Line("Average precision of errors", kept.error_average_precision, key="error_average_precision")
        for at in kept.accuracy_at_coverage:
            yield _Line(
                f"Accuracy at {100 * at.at:g} % coverage", at.figure, "", True, f"accuracy_at_coverage.{at.at:g}"
            )
        for at in kept.coverage_at_risk:
            yield _Line(
                f"Coverage at {100 * at.at:g} % risk",
                at.figure,
                "optimistic: chosen on these rows",
                True,
                f"coverage_at_risk.{at.at:g}",
            )


def _error(error: float | None, percent: bool) -> str:
    if error is None:
        return ""
    return f"{100 * error:.2g} %" if percent else f"{error:.2g}"
