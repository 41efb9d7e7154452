"""All figures of a calibration report, in the table of its page."""

from __future__ import annotations

from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.metric import Figure
from bayespeft.report.metrics.spec import MetricSpec, table
from bayespeft.report.view.page import Section, Table, interval_below
from bayespeft.report.view.table import capital

COVERED = (
    "An interval holds the figure that endlessly many such rows would give, in 95 of 100 test sets: of shares by Clopper and "
    "Pearson, of calibration errors over the same bins by a bound that holds more often, of the others by resampling rows, "
    "which holds less often where rows or errors are few. Figures without one are those of these rows alone."
)


def all_figures(report: CalibrationReport) -> Section:
    """Return the section of all figures, with their errors over draws where these are known."""
    errors = {} if report.over_draws is None else report.over_draws.errors or {}
    rows = []
    for spec in table():
        cells = (interval_below(metric_cells(spec, report.metrics.get(spec.name))),)
        error = errors.get(spec.name)
        told = "" if error is None else f"{spec.scale * error:.2g}{' %' * (spec.unit == '%')}"
        rows.append((capital(spec.title), spec.remark, (*cells, told) if errors else cells))
    header = ("", "value, 95 % interval", *(["± over draws"] if errors else []))
    return Section("All figures", COVERED, tables=(Table(header, tuple(rows)),))


def metric_cells(spec: MetricSpec, figure: Figure) -> tuple[str, str]:
    """Return a metric and its interval; a share has its percent sign."""
    value, ends = spec.cells(figure)
    return (f"{value} %" if spec.unit == "%" and figure is not None else value), ends
