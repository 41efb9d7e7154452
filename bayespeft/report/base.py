"""What all reports can do: write themselves as a page, a table of numbers, JSON, and a picture where there is one."""

from __future__ import annotations

import csv
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bayespeft import registry
from bayespeft.errors import ConfigError
from bayespeft.report.context import Setup, Training
from bayespeft.report.json_report import JsonReport
from bayespeft.utils.checks import checked_methods
from bayespeft.utils.files import write_atomic
from bayespeft.utils.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The CSV leaves these parts out: they are no figures of the report.
CONTEXT = ("quotes", "setup")

# What a plot can be saved as.
PICTURES = (".png", ".svg", ".pdf")

# Callers may pass these attributes as numbers of numpy or torch, which JSON does not know.
PLAIN = {
    "draws": int, "forward_passes": int, "backward_passes": int, "nll_error": float, "seconds": float,
    "trainable_parameters": int, "total_parameters": int, "peak_memory_bytes": int, "mutual_information": float,
}  # fmt: skip


@checked_methods
@dataclass(frozen=True, slots=True, kw_only=True)
class Report(JsonReport, ABC):
    """Numbers about a prediction, what it cost, and how it came about.

    What is left out of the following prints as unknown.

    Attributes:
        VIEW: name of its view in the room `bayespeft.report.view`, which is imported only where the report is shown.
        n: number of examples.
        draws: draws of the weights that were averaged; 0 for the posterior mean.
        forward_passes: passes through the network per example; a draw folded into the batch axis counts as one.
        backward_passes: passes backwards, in the same unit: a linearised prediction takes one per class.
        nll_error: Monte Carlo standard error of `nll` over draws, in nats.
        seconds: wall-clock time of the prediction.
        trainable_parameters: parameters that were learned.
        total_parameters: numbers of the network, of the adapter and of the guide.
        peak_memory_bytes: highest memory use while predicting.
        method: what made the predictions, e.g. "melora".
        name: title of the data, e.g. "MRPC test".
        training: how training went; None where it isn't known.
        setup: settings and versions; None where they aren't known.
    """

    VIEW: ClassVar[str]

    n: int
    draws: int = 1
    forward_passes: int | None = None
    backward_passes: int = 0
    nll_error: float | None = None
    seconds: float | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    peak_memory_bytes: int | None = None
    method: str = ""
    name: str = ""
    training: Training | None = None
    setup: Setup | None = None

    def __post_init__(self) -> None:
        for name, kind in PLAIN.items():
            value = getattr(self, name, None)
            if value is not None:
                object.__setattr__(self, name, kind(value))

    @property
    @abstractmethod
    def headline(self) -> str:
        """What the numbers say, in words."""

    @property
    def advice(self) -> str:
        """What to do about the verdict: the cause that can be seen, and the call that mends it; empty where there is none."""
        verdict = getattr(self, "verdict", None)
        return "" if self.training is None or verdict is None else self.training.remedies.get(verdict.kind, "")

    @property
    def view(self) -> Any:
        """What it looks like: a `bayespeft.report.view.view.View`."""
        return registry.get("report.view", self.VIEW)

    def __str__(self) -> str:
        return visible(self.view.text(self))

    def to_dict(self) -> dict[str, Any]:
        """As the base, with the figures before the facts that all reports have."""
        plain = JsonReport.to_dict(self)
        facts = {field.name: plain.pop(field.name) for field in fields(Report)}
        return {**plain, **facts}

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as one page of HTML that needs nothing else, and write it to `path` if given.

        It reads in light and dark, on a phone and in print. Rows of the data that the report quotes are on it.
        """
        text: str = self.view.page(self).html()
        if path is not None:
            write_atomic(path, text.encode())
        return text

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the page's figures, each of which `to_svg` writes."""
        return tuple(self.view.page(self).pictures)

    def to_svg(self, path: str | os.PathLike[str], figure: str) -> None:
        """Write one of `figures` as an SVG of its own, whatever the file's name, with its title and a legend.

        Figures of the page are SVG alone.

        Raises:
            ConfigError: this report has no such figure.
        """
        write_atomic(path, self.view.figure(self, figure).encode())

    def _repr_html_(self) -> str:
        """What a notebook shows: headline, numbers and the first pictures."""
        card: str = self.view.page(self).card()
        return card

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the numbers as CSV, and write them to `path` if given.

        Columns are figure, value, low and high (of the 95 % interval, where there is one); parts of parts are named
        "calibration.ece", "bins.14.accuracy", and those on other data "ood.<data>.<score>.auroc". Numbers have all their
        digits. Texts, quotes, settings and versions are left out.
        """
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("figure", "value", "low", "high"))
        plain = {name: value for name, value in self.to_dict().items() if name not in CONTEXT}
        writer.writerows(_rows(plain, ""))
        if path is not None:
            write_atomic(path, buffer.getvalue().encode())
        return buffer.getvalue()


@checked_methods
class DrawnReport(Report):
    """A report with a picture."""

    __slots__ = ()

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the report with matplotlib and return the figure.

        Args:
            path: where to save it: .png, .svg or .pdf.

        Raises:
            ConfigError: the suffix of `path` is none of these.
        """
        figure: Figure = self.view.plot(self, path)
        return figure

    def to_png(self, path: str | os.PathLike[str]) -> None:
        """Write the picture of `plot` as PNG, 200 dots per inch, whatever the file's name.

        The other figures, which the page has, are SVG alone: see `to_svg`.
        """
        self.view.plot(self, path, "png")

    def to_svg(self, path: str | os.PathLike[str], figure: str | None = None) -> None:
        """Write the picture of `plot`, or one of the page's `figures`, as SVG, whatever the file's name.

        Raises:
            ConfigError: this report has no such figure.
        """
        if figure is None:
            self.view.plot(self, path, "svg")
        else:
            Report.to_svg(self, path, figure)


def check_picture(path: str | os.PathLike[str]) -> str:
    """Return the ending of a picture's name, in lower case.

    Raises:
        ConfigError: a plot can't be saved under it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in PICTURES:
        raise ConfigError(f"a plot can't be saved as {os.fspath(path)!r}: end the name with {', '.join(PICTURES)}.")
    return suffix


def _rows(value: Any, name: str) -> Iterator[tuple[str, float, float | str, float | str]]:
    """Rows of a dictionary as `to_dict` makes it, however deep."""
    if isinstance(value, dict):
        if value.keys() == {"value", "low", "high"}:
            yield name, value["value"], value["low"], value["high"]
            return
        for key, part in value.items():
            yield from _rows(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            separation = isinstance(part, dict) and {"data", "score"} <= part.keys()
            yield from _rows(part, f"{name}.{part['data']}.{part['score']}" if separation else f"{name}.{i}")
    elif isinstance(value, (int, float)):
        yield name, value, "", ""
