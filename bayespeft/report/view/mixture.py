"""What a report on laws of any kind looks like."""

from __future__ import annotations

from bayespeft.report.metric import UNKNOWN
from bayespeft.report.mixture import MixtureReport
from bayespeft.report.view.page import Page, closing, tile, title
from bayespeft.report.view.table import capital, lay_out, measured_cells, plain_cells
from bayespeft.report.view.view import View


def text(report: MixtureReport) -> str:
    """Return the report as `table.lay_out` lays it out."""
    rows = [
        ("", "value", "95 % interval", ""),
        ("NLL", *plain_cells(report.nll), "nats per example"),
        ("RMSE", *((UNKNOWN, "") if report.rmse is None else measured_cells(report.rmse)), "of the mean"),
    ]
    return lay_out(report, rows, f"{report.n:,} with {report.outputs:,} number{'s' * (report.outputs != 1)}")


def page(report: MixtureReport) -> Page:
    """Return the contents of the page."""
    tiles = [tile("NLL", plain_cells(report.nll), "nats per example")]
    if report.rmse is not None:
        tiles.append(tile("RMSE", measured_cells(report.rmse), "of the predicted mean, in the labels' units"))
    return Page(
        title=title(report),
        tone="mixed",
        headline=capital(report.headline),
        lede=(),
        tiles=tuple(tiles),
        sections=tuple(closing(report)),
    )


VIEW = View(page, text)
