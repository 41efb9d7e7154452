"""What a report on targets' probabilities looks like."""

from __future__ import annotations

from collections.abc import Iterator

from bayespeft.report.language import LanguageReport
from bayespeft.report.view.table import measured_cells, plain_cells
from bayespeft.report.view.view import Row, View


def rows(report: LanguageReport) -> Iterator[Row]:
    """Yield the figures."""
    yield Row("NLL", plain_cells(report.nll), "nats per target", tile="nats per target")
    yield Row("NLL per token", plain_cells(report.nll_per_token), "nats", tile="nats")
    words = "exp of the NLL per token"
    yield Row("Perplexity", measured_cells(report.perplexity), words, tile=words)


VIEW = View(rows=rows, examples=lambda report: f"{report.n:,} with {report.tokens:,} scored tokens")
