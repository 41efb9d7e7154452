"""What a page about a report says, in order; and the parts that all reports have. Contents only: the template lays them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from bayespeft.report.context import Quote, Quotes, Setup, Training
from bayespeft.report.metric import UNKNOWN, Metric
from bayespeft.report.view.pages import render
from bayespeft.report.view.svg import Chart
from bayespeft.report.view.table import draw_text, memory_text, parameter_text, time_text

if TYPE_CHECKING:
    from bayespeft.report.base import Report

CURVES = {"objective": "over", "nll": "under", "validation nll": "ink", "kl": "under"}


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the few numbers that come first, with its interval and a remark."""

    label: str
    value: str
    interval: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of name, remark, and cells. A square one counts, and its diagonal stands out."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]
    square: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart, the name that it is asked for by, and the meaning of its colours (class -> words)."""

    name: str
    svg: Markup
    key: dict[str, str]

    @property
    def height(self) -> int:
        """Of the chart, in its own units."""
        return int(self.svg.partition(' height="')[2].partition('"')[0])


@dataclass(frozen=True, slots=True)
class Figure:
    """Charts above each other; what is to be seen; and numbers."""

    title: str
    charts: tuple[Picture, ...]
    caption: str = ""
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is below it; parts that are empty are not shown."""

    title: str
    intro: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page.

    Attributes:
        title: of the data and the method.
        tone: class of the headline: "good", "over", "under" or "mixed".
        headline: the verdict.
        lede: sentences after it.
        tiles: the numbers that come first.
        sections: the rest; the first one holds the pictures that a notebook shows.
    """

    title: str
    tone: str
    headline: str
    lede: tuple[str, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]

    @property
    def pictures(self) -> dict[str, tuple[str, Picture]]:
        """Name -> title and picture, of all charts in their order."""
        figures = [figure for section in self.sections for figure in section.figures]
        return {picture.name: (figure.title, picture) for figure in figures for picture in figure.charts}

    def html(self) -> str:
        """Return the page as a file of its own."""
        return render("report", page=self, title=f"{self.title}: {self.headline}" if self.title else self.headline)

    def card(self) -> str:
        """Return headline, numbers and first pictures as an element for a notebook."""
        return render("card", page=self)


def interval_below(cells: tuple[str, ...]) -> str:
    """Return value and interval, as `table` writes them, in two lines: they fit onto a phone."""
    return "\n".join(filter(None, cells))


def share(metric: Metric) -> str:
    """Return a share with its interval in words."""
    return f"{100 * metric.value:.1f} % (95 % interval {100 * metric.low:.1f} to {100 * metric.high:.1f})"


SURPRISING = (
    "The most surprising rows",
    "Those whose labels have the least probability, as far as any is wrong. Wrong labels are often here, too.",
)
"""The mistakes that `quoted` shows where a row has several labels."""


def quoted(quotes: Quotes | None, mistakes: tuple[str, str]) -> Iterator[Section]:
    """Yield the rows of data that are quoted: mistakes, under a title and an introduction, and rows of the highest entropy."""
    if quotes is not None and quotes.mistakes:
        yield Section(*mistakes, quotes=quotes.mistakes)
    if quotes is not None and quotes.uncertain:
        yield Section("The least certain rows", "Those of the highest entropy.", quotes=quotes.uncertain)


def closing(report: Report) -> Iterator[Section]:
    """Yield training, cost, configuration and versions, as far as they are known."""
    if report.training is not None:
        yield Section("Training", figures=tuple(_curves(report.training)))
    yield Section("Parameters and cost", tables=(_cost(report),))
    if report.setup is not None:
        yield from _setup(report.setup)


def _curves(training: Training) -> Iterator[Figure]:
    per_example = {name: curve for name, curve in training.curves.items() if name != "kl"}
    words = {
        "objective": "objective: NLL + weighted KL and penalty of points",
        "nll": "NLL, training",
        "validation nll": "NLL, validation",
    }
    caption = (
        "A gap that opens between training and validation NLL is overfitting."
        if "validation nll" in per_example
        else "The objective is what training lowers, averaged between records."
    )
    key = {CURVES[name]: words[name] for name in per_example}
    curve = Picture("training.nll", _curve(training.steps, per_example, "nats per example"), key)
    yield Figure("NLL and objective", (curve,), caption)
    kl = training.curves.get("kl", ())
    if any(kl):
        caption = "How far the posterior has moved from the prior: it should come to rest."
        if training.kl_error is not None:
            caption += (
                " There is no formula for it: these are Monte Carlo estimates, the last one "
                f"{kl[-1]:.1f} ± {training.kl_error:.1f} nats (standard error)."
            )
        curve = Picture("training.kl", _curve(training.steps, {"kl": kl}, "nats"), {})
        yield Figure("KL from the prior", (curve,), caption)


def _curve(steps: tuple[int, ...], curves: Mapping[str, tuple[float | None, ...]], unit: str) -> Markup:
    values = [value for curve in curves.values() for value in curve if value is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    chart = Chart(
        (0, max(steps)),
        (min(0.0, low), high * 1.05 if high > 0 else 0.0),
        x_label="optimiser steps",
        y_label=unit,
        description=", ".join(f"{name} from {curve[0]} to {curve[-1]} {unit}" for name, curve in curves.items()),
        height=210,
    )
    for name, curve in curves.items():
        points = [point for point in zip(steps, curve, strict=True) if point[1] is not None]
        chart.line(points, CURVES[name])
        if len(points) <= 1 or name == "validation nll":
            for x, y in points:
                if y is not None:
                    chart.dot(x, y, CURVES[name], f"step {x:,}: {y:.4g} {unit}")
    return chart.svg()


def _cost(report: Report) -> Table:
    training = report.training
    rows = [
        ("Draws", "", (draw_text(report),)),
        ("Time of the prediction", "", (time_text(report.seconds),)),
        ("Parameters", "", (parameter_text(report.trainable_parameters, report.total_parameters),)),
        ("Peak memory of the prediction", "", (memory_text(report.peak_memory_bytes),)),
    ]
    if training is not None:
        rows += [
            ("Optimiser steps", training.ended, (f"{training.steps[-1]:,}",)),
            ("Time of the training", "", (time_text(training.seconds),)),
            ("Peak memory of the training", "", (memory_text(training.peak_memory_bytes),)),
        ]
    return Table((), tuple(rows))


def _setup(setup: Setup) -> Iterator[Section]:
    rows = tuple((name, "", (value,)) for name, value in _flat(setup.configuration))
    yield Section("Configuration", tables=(Table((), rows),))
    yield Section("Versions", tables=(Table((), tuple((k, "", (str(v),)) for k, v in setup.versions.items())),))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name} \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ")
        elif isinstance(value, (list, tuple)):
            yield name, ", ".join(map(str, value)) or UNKNOWN
        else:
            yield name, UNKNOWN if value in (None, "", {}) else str(value)
