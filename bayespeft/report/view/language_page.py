"""What the page of a report on targets' probabilities says."""

from __future__ import annotations

from bayespeft.report.language import LanguageReport
from bayespeft.report.view.page import Page, capital, closing, tile, title
from bayespeft.report.view.table import measured_cells, plain_cells


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
