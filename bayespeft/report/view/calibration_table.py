"""All figures of a calibration report, in the table of its page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.metric import Metric
from bayespeft.report.view.page import Section, Table, interval_below
from bayespeft.report.view.table import UNKNOWN, percent_cells, plain_cells

COVERED = (
    "An interval holds the figure that endlessly many such rows would give, in 95 of 100 test sets: of shares by Clopper and "
    "Pearson, of calibration errors over the same bins by a bound that holds more often, of the others by resampling rows, "
    "which holds less often where rows or errors are few. Figures without one are those of these rows alone."
)


class _Line(NamedTuple):
    """A figure with or without an interval, its title, a remark, whether it is in percent, its key among errors over draws."""

    title: str
    metric: Metric | float | None
    remark: str = ""
    percent: bool = False
    key: str = ""


def all_figures(report: CalibrationReport) -> Section:
    """Return the section of all figures, with their errors over draws where these are known."""
    errors = {} if report.over_draws is None else report.over_draws.errors or {}
    header = ("", "value, 95 % interval", *(["± over draws"] if errors else []))
    rows = []
    for line in _lines(report):
        cell = _cell(line.metric, line.percent)
        cells = (cell, _error(errors.get(line.key), line.percent)) if errors else (cell,)
        rows.append((line.title, line.remark, cells))
    return Section("All figures", COVERED, tables=(Table(header, tuple(rows)),))


def _cell(metric: Metric | float | None, percent: bool) -> str:
    if metric is None:
        return UNKNOWN
    if isinstance(metric, float):
        return f"{100 * metric:.1f} %" if percent else f"{metric:.3f}"
    return interval_below(percent_cells(metric) if percent else plain_cells(metric))


def _lines(report: CalibrationReport) -> Iterator[_Line]:
    yield _Line("Accuracy", report.accuracy, "", True, "accuracy")
    yield _Line("NLL", report.nll, "nats per example", key="nll")
    if report.baseline is not None:
        base = report.baseline
        yield _Line(
            "Skill", base.skill, "1 - NLL / NLL of the base rates: 0 is no better than these, 100 % perfect", True
        )
        yield _Line("Accuracy of the trivial answer", base.accuracy, "always the most frequent class", True)
        yield _Line("NLL of the base rates", base.nll, "nats per example")
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
        for reached in kept.coverage_at_risk:
            yield _Line(
                f"Coverage at {100 * reached.at:g} % risk",
                reached.coverage,
                "optimistic: chosen on these rows",
                True,
                f"coverage_at_risk.{reached.at:g}",
            )


def _error(error: float | None, percent: bool) -> str:
    if error is None:
        return ""
    return f"{100 * error:.2g} %" if percent else f"{error:.2g}"
