"""What a report on laws of any kind looks like."""

from __future__ import annotations

from collections.abc import Iterator

from bayespeft.report.metric import counted
from bayespeft.report.mixture import MixtureReport
from bayespeft.report.view.table import measured_cells, plain_cells
from bayespeft.report.view.view import Row, View


def rows(report: MixtureReport) -> Iterator[Row]:
    """Yield the figures."""
    yield Row("NLL", plain_cells(report.nll), "nats per example", tile="nats per example")
    words = None if report.rmse is None else "of the predicted mean, in the labels' units"
    yield Row("RMSE", measured_cells(report.rmse), "of the mean", tile=words)


def examples(report: MixtureReport) -> str:
    """Return how many there are."""
    return f"{report.n:,} with {counted(report.outputs, 'number')}"


VIEW = View(rows=rows, examples=examples)
