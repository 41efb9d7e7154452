"""`View`: what a kind of report looks like: its text, its page, its plot. Each kind registers one, in a file of this room."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bayespeft.errors import ConfigError
from bayespeft.report.view.figure_file import figure_file
from bayespeft.report.view.page import Page, Section, Table, Tile, closing, interval_below
from bayespeft.report.view.table import Cells, capital, lay_out, percent_cells, plain_cells, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Row(NamedTuple):
    """A figure of a report, said once for all places where it is shown.

    Attributes:
        name: what it is called.
        cells: value and interval, as `table` writes them.
        printed: a remark for the text; None where it is not in the text.
        remark: a remark for the page's table of all figures; None where it is not in that.
        tile: a remark for a tile, one of the few numbers that come first on the page; None where it is none of these.
        short: name in the text, if another one.
        error: its error over draws.
    """

    name: str
    cells: Cells
    printed: str | None = None
    remark: str | None = None
    tile: str | None = None
    short: str = ""
    error: str = ""

    @classmethod
    def information(cls, report: Any, note: str = "") -> Row:
        """Return the mutual information of a report, which is a tile where draws were told apart."""
        shown = report.mutual_information is not None and report.draws > 1
        tile = f"nats, of {report.entropy:.3f} entropy{note}" if shown else None
        words = f"nats, the epistemic part of the entropy{note}"
        return cls("Mutual information", plain_cells(report.mutual_information), words, tile=tile)

    @classmethod
    def skill(cls, report: Any, each: str = "") -> Row:
        """Return the skill of a report over its base rates, which is a tile where some could be beaten.

        Args:
            report: with `skill` and `base_nll`.
            each: what the latter's nats are for, where not a row, such as " per token".
        """
        ratio = "1 - NLL / NLL of the base rates"
        tile = None if report.skill is None else "of its probabilities, over base rates"
        return cls("Skill", percent_cells(report.skill), f"{ratio} ({report.base_nll:.3f} nats{each})", ratio, tile)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a kind of report looks like. A report finds it by its `VIEW`, the name of the file that assigns it.

    Attributes:
        rows: report -> its figures.
        examples: report -> how many examples there are, of what.
        lede: report -> sentences after the verdict and its advice.
        sections: report -> what the page says before the table of all figures; a notebook shows the figures of the first.
        covered: what intervals hold, for that table.
        draw: report -> matplotlib figure; further arguments are those of its `plot`. None where there is no plot.
    """

    rows: Callable[[Any], Iterable[Row]]
    examples: Callable[[Any], str]
    lede: Callable[[Any], Iterable[str]] = lambda report: ()
    sections: Callable[[Any], Iterable[Section]] = lambda report: ()
    covered: str = ""
    draw: Callable[..., Figure] | None = None

    def text(self, report: Any) -> str:
        """Return the report as aligned plain text."""
        shown = [row for row in self.rows(report) if row.printed is not None]
        lines = [(row.short or row.name, *row.cells, row.printed or "") for row in shown]
        return lay_out(report, lines, self.examples(report))

    def page(self, report: Any) -> Page:
        """Return the contents of the page."""
        rows, verdict = list(self.rows(report)), getattr(report, "verdict", None)
        said = () if verdict is None else (verdict.reason, *filter(None, [report.advice]))
        return Page(
            title=title(report),
            tone="mixed" if verdict is None else verdict.tone,
            headline=capital(report.headline if verdict is None else str(verdict)),
            lede=(*said, *self.lede(report)),
            tiles=tuple(Tile(row.name, *row.cells, row.tile) for row in rows if row.tile is not None),
            sections=(*self.sections(report), *self._all_figures(rows), *closing(report)),
        )

    def _all_figures(self, rows: list[Row]) -> list[Section]:
        shown = [row for row in rows if row.remark is not None]
        over = any(row.error for row in shown)
        header = ("", "value, 95 % interval", *["± over draws"] * over)
        table = tuple((row.name, row.remark or "", (interval_below(row.cells), *[row.error] * over)) for row in shown)
        return [Section("All figures", self.covered, tables=(Table(header, table),))] if shown else []

    def figure(self, report: Any, name: str) -> str:
        """Return one of the page's charts as an SVG file of its own.

        Raises:
            ConfigError: the page has no such chart.
        """
        pictures = self.page(report).pictures
        if name not in pictures:
            raise ConfigError(f"this report has no figure {name!r}, but {', '.join(pictures) or 'none'}.")
        return figure_file(*pictures[name])

    def plot(self, report: Any, path: str | os.PathLike[str] | None, kind: str | None = None, **where: Any) -> Figure:
        """Draw the report, and write it to `path` if given, as `kind` or by its suffix."""
        from bayespeft.report.view.plots import save  # here: matplotlib takes half a second, and texts don't need it

        assert self.draw is not None
        figure = self.draw(report, **where)
        if path is not None:
            save(figure, path, kind)
        return figure
