"""Writes a report to the files that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from bayespeft.errors import ConfigError, FileError
from bayespeft.io.directory import check_writable
from bayespeft.report.base import DrawnReport, Report, check_picture


@dataclass(frozen=True)
class Files:
    """Where a report goes; None leaves a form out.

    Attributes:
        html: a page.
        json: everything.
        csv: the numbers.
        plot: the picture.
        figures: name and file of single figures of the page.
    """

    html: Path | None = None
    json: Path | None = None
    csv: Path | None = None
    plot: Path | None = None
    figures: Sequence[tuple[str, Path]] = ()

    def check(self) -> None:
        """Check that each can be written, before anything is computed.

        Raises:
            CheckpointError: a folder can't be written to. FileError: a name is that of a folder. ConfigError: the name of a
                plot says no form of a picture.
        """
        for path in (self.html, self.json, self.csv, self.plot, *(path for _, path in self.figures)):
            if path is not None and path.is_dir():
                raise FileError(f"'{path}' is a folder: name a file in it.")
            if path is not None:
                check_writable(path.parent)
        if self.plot is not None:
            check_picture(self.plot)

    def write(self, report: Report) -> None:
        """Show the report, and write what was asked for.

        Raises:
            ConfigError: there is no such picture of it. FileError: a file can't be written.
        """
        typer.echo(str(report))
        if self.plot is not None and not isinstance(report, DrawnReport):
            told = ", ".join(report.figures) or "none"
            raise ConfigError(f"there is no plot of {report.WHAT}: leave --plot out. --figure writes {told}.")
        for title, path, write in (
            ("Page", self.html, report.to_html),
            ("Report", self.json, report.to_json),
            ("Numbers", self.csv, report.to_csv),
            ("Plot", self.plot, report.plot if isinstance(report, DrawnReport) else None),
        ):
            if path is not None and write is not None:
                write(path)
                typer.echo(f"{title}: {path}")
        for name, path in self.figures:
            report.to_svg(path, name)
            typer.echo(f"Figure: {path}")
