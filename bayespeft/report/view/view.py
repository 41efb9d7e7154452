"""`View`: what a kind of report looks like: its text, its page, its plot. Each kind registers one, in a file of this room."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bayespeft.errors import ConfigError
from bayespeft.report.view.figure_file import figure_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class View:
    """What a kind of report looks like. A report finds it by its `VIEW`, the name of the file that assigns it.

    Attributes:
        page: report -> its page, which has `html()`, `card()` for a notebook, and `pictures`: mostly a `page.Page`.
        text: report -> aligned plain text; None where it prints itself.
        draw: report -> matplotlib figure; further arguments are those of its `plot`. None where there is no plot.
    """

    page: Callable[..., Any]
    text: Callable[[Any], str] | None = None
    draw: Callable[..., Figure] | None = None

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
