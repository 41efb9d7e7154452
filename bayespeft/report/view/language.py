"""What a report on targets' probabilities looks like."""

from __future__ import annotations

from bayespeft.report.language import LanguageReport
from bayespeft.report.view.page import Page, closing, tile, title
from bayespeft.report.view.table import capital, lay_out, measured_cells, plain_cells
from bayespeft.report.view.view import View


def text(report: LanguageReport) -> str:
    """Return the report as `table.lay_out` lays it out."""
    rows = [
        ("", "value", "95 % interval", ""),
        ("NLL", *plain_cells(report.nll), "nats per target"),
        ("NLL per token", *plain_cells(report.nll_per_token), "nats"),
        ("Perplexity", *measured_cells(report.perplexity), "exp of the NLL per token"),
    ]
    return lay_out(report, rows, f"{report.n:,} with {report.tokens:,} scored tokens")


def page(report: LanguageReport) -> Page:
    """Return the contents of the page."""
    return Page(
        title=title(report),
        tone="mixed",
        headline=capital(report.headline),
        lede=(),
        tiles=(
            tile("NLL", plain_cells(report.nll), "nats per target"),
            tile("NLL per token", plain_cells(report.nll_per_token), "nats"),
            tile("Perplexity", measured_cells(report.perplexity), "exp of the NLL per token"),
        ),
        sections=tuple(closing(report)),
    )


VIEW = View(page, text)
