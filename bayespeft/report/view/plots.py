"""Plots: the reliability diagram of one or several reports, and the comparison of methods over seeds.

Figures are made without pyplot: no global state, no display needed, nothing to close. Colours are those of Okabe & Ito
(2008), which people with any kind of colour blindness can tell apart; over- and under-confidence are hatched too.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bayespeft.errors import DataError
from bayespeft.report.base import check_picture
from bayespeft.report.metrics.spec import table
from bayespeft.report.series import dots
from bayespeft.report.view.table import capital, percent_cells, short_count
from bayespeft.utils.checks import checked
from bayespeft.utils.files import write_atomic

if TYPE_CHECKING:
    from bayespeft.report.calibration import CalibrationReport

COLUMNS = 4
# An x-axis of a comparison spans at least this, by the metric's unit, in the units that are drawn.
LEAST_SPAN = {"%": 10.0, "nats": 0.2, "": 0.1}

DIRECTIONS = {
    True: "higher is better \N{RIGHTWARDS ARROW}", False: "\N{LEFTWARDS ARROW} lower is better", None: "",
}  # fmt: skip

BLUE, VERMILION, SKY, GREY, INK = "#0072B2", "#D55E00", "#56B4E9", "#8C8C8C", "#222222"
BARS = "#C9D3DC"
OVER: dict[str, Any] = {"facecolor": VERMILION, "edgecolor": VERMILION, "hatch": "////", "alpha": 0.45, "linewidth": 0}
UNDER: dict[str, Any] = {"facecolor": BLUE, "edgecolor": BLUE, "hatch": "\\\\\\\\", "alpha": 0.45, "linewidth": 0}
ABOVE: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "color": INK}
MEAN: dict[str, Any] = {"marker": "D", "color": VERMILION, "markersize": 8, "markeredgewidth": 0}


def save(figure: Figure, path: str | os.PathLike[str], kind: str | None = None) -> None:
    """Write a figure as png (200 dpi), svg or pdf; whole or not at all.

    Args:
        figure: to write.
        path: where to.
        kind: one of the three; by the suffix of `path` where it is left out.

    Raises:
        ConfigError: the suffix is none of these.
    """
    suffix = check_picture(path if kind is None else f"a.{kind}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix[1:], dpi=200)
    write_atomic(path, buffer.getvalue())


def reliability(reports: Mapping[str, CalibrationReport]) -> Figure:
    """Draw one reliability diagram per report, with the same axes: accuracy against confidence, and a histogram.

    In each bin the bar is the accuracy, and the hatched part its gap to the mean confidence (where the diagonal is):
    vermilion where confidence is too high, blue where it is too low. The gaps, weighted by the shares below, add up
    to the ECE (Guo et al. 2017, figure 1). Whiskers are exact 95 % intervals. Empty bins are not drawn.

    Args:
        reports: title -> report, one panel each, in this order.

    Raises:
        DataError: there is no report.
    """
    if not reports:
        raise DataError("there is no report to draw: pass at least one, as {title: report}.")
    columns = min(len(reports), COLUMNS)
    rows = math.ceil(len(reports) / columns)
    size = (3.2 * columns + 0.6 + 0.8 * (columns == 1), 5.0 * rows + 0.4)
    figure = Figure(figsize=size, **style())
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3.2, 1] * rows)
    most = max(b.count / report.n for report in reports.values() for b in report.bins)
    for i, (title, report) in enumerate(reports.items()):
        row, column = divmod(i, columns)
        top = figure.add_subplot(grid[2 * row, column])
        below = figure.add_subplot(grid[2 * row + 1, column], sharex=top)
        draw_reliability(top, report)
        _head(top, title, report)
        _draw_counts(below, report, most)
        top.set_xlabel("")
        top.tick_params(labelbottom=False)
        if column:
            for axes in (top, below):
                axes.set_ylabel("")
                axes.tick_params(labelleft=False)
    handles = [
        Patch(facecolor=BARS, edgecolor=GREY, label="accuracy, 95 % interval"),
        Patch(**OVER, label="over-confident"),
        Patch(**UNDER, label="under-confident"),
        Line2D([], [], color=INK, linestyle="--", linewidth=1, label="perfect calibration"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4 if columns > 1 else 2, fontsize=8, frameon=False)
    return figure


@checked
def draw_reliability(ax: Axes, report: CalibrationReport) -> Figure:
    """Draw the upper part of `reliability` into existing axes, with the verdict as their left title.

    Returns:
        The figure that the axes belong to.
    """
    ax.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, zorder=3)
    for dot in dots(report.bins):
        width, middle = dot.right - dot.left, (dot.left + dot.right) / 2
        ax.bar(middle, dot.accuracy, width, facecolor=BARS, edgecolor=GREY, linewidth=0.6, zorder=1)
        gap = dot.confidence - dot.accuracy
        ax.bar(middle, gap, width, bottom=dot.accuracy, zorder=2, **(OVER if dot.kind == "over" else UNDER))
        line: dict[str, Any] = {"color": INK, "zorder": 4, "clip_on": False}
        ax.plot([dot.left, dot.right], [dot.accuracy] * 2, linewidth=1.4, solid_capstyle="butt", **line)
        ax.plot([middle] * 2, dot.interval, linewidth=0.9, **line)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="Confidence", ylabel="Accuracy")
    ax.set_title(str(report.verdict), loc="left", fontsize=8.5, color=INK)
    tidy(ax)
    figure = ax.figure
    while isinstance(figure, SubFigure):
        figure = figure.figure
    return figure


def _head(ax: Axes, title: str, report: CalibrationReport) -> None:
    """Title, verdict and numbers above the axes, where they can't hide a bar."""
    numbers = "\n".join(
        [*(" ".join(percent_cells(share)) for share in (report.accuracy, report.ece)), f"{report.nll} nats"]
    )
    above: dict[str, Any] = {**ABOVE, "xy": (0, 1), "xycoords": "axes fraction", "ha": "left", "va": "bottom"}
    ax.annotate("Accuracy\nECE\nNLL", xytext=(0, 6), fontsize=8, linespacing=1.3, **above)
    ax.annotate(numbers, xytext=(48, 6), fontsize=8, linespacing=1.3, **above)
    ax.set_title(str(report.verdict), loc="left", fontsize=8, color=INK, pad=44)
    ax.annotate(textwrap.fill(title, 30), xytext=(0, 58), fontsize=11, fontweight="bold", **above)


def _draw_counts(ax: Axes, report: CalibrationReport, most: float) -> None:
    found = dots(report.bins)
    wide = any(dot.count >= 1000 for dot in found)
    for dot in found:
        middle, share = (dot.left + dot.right) / 2, 100 * dot.count / report.n
        ax.bar(middle, share, dot.right - dot.left, facecolor=SKY, edgecolor=BLUE, linewidth=0.6)
        ax.annotate(short_count(dot.count), (middle, share), (0, 2), fontsize=6, rotation=90 if wide else 0, **ABOVE)
    ax.set(xlim=(0, 1), ylim=(0, 135 * most), xlabel="Confidence", ylabel="Examples (%)")
    ax.yaxis.set_major_locator(MaxNLocator(3))
    tidy(ax)


def comparison(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] = ("accuracy", "nll", "ece")) -> Figure:
    """Draw methods against each other: one panel per metric, a small dot per seed, a diamond and a number for the mean.

    Args:
        rows: one per run, with the keys "method" and "seed", and each of `metrics` as a finite float.
        metrics: which metrics, from left to right. Those that reports have are drawn in their units, shares in percent.

    Raises:
        DataError: there is no row, a row lacks a key, or a metric is not a finite number.
    """
    methods, seeds = _check(rows, metrics)
    # A seed has the same small offset everywhere: equal values stay visible, and seeds can be followed across methods.
    offsets = {seed: 0.24 * ((i + 0.5) / len(seeds) - 0.5) for i, seed in enumerate(seeds)}
    figure = Figure(figsize=(1.6 + 2.7 * len(metrics), 1.5 + 0.45 * len(methods)), **style())
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    known = {spec.name: spec for spec in table()}
    for ax, metric in zip(panels, metrics, strict=True):
        spec = known.get(metric)
        scale, digits = (1, 3) if spec is None else (spec.scale, spec.digits)
        for y, method in enumerate(methods):
            own = [row for row in rows if str(row["method"]) == method]
            values = [scale * float(row[metric]) for row in own]
            heights = [y + offsets[str(row["seed"])] for row in own]
            mean = sum(values) / len(values)
            ax.plot(mean, y, zorder=2, **MEAN)
            ax.plot(
                values, heights, "o", color=BLUE, markersize=4, markeredgecolor="white", markeredgewidth=0.5, zorder=3
            )
            ax.annotate(f"{mean:.{digits}f}", (mean, y), (0, 8), fontsize=7.5, **ABOVE)
        title = metric if spec is None else capital(spec.heading)
        ax.set_title(title, fontsize=10, fontweight="bold", color=INK)
        if spec is not None:
            ax.set_xlabel(DIRECTIONS[spec.higher_is_better], fontsize=8)
        ax.margins(x=0.14)
        _widen(ax, 0.0 if spec is None else LEAST_SPAN[spec.unit])
        ax.xaxis.set_major_locator(MaxNLocator(5))
        tidy(ax)
        ax.grid(axis="y", color="#EEEEEE")
    panels[0].set_yticks(range(len(methods)), methods)
    panels[0].set_ylim(len(methods) - 0.5, -0.65)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=BLUE, markersize=4, label="one seed"),
        Line2D([], [], linestyle="", label="mean over seeds", **MEAN),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _widen(ax: Axes, least: float) -> None:
    """Widen the x-axis to a least span, so that a difference within noise does not look like a chasm."""
    low, high = ax.get_xlim()
    if high - low < least:
        middle = (low + high) / 2
        ax.set_xlim(middle - least / 2, middle + least / 2)


def _check(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return methods and seeds, each in order of appearance."""
    if not rows or not metrics:
        raise DataError("there is nothing to compare: pass at least one row and one metric.")
    for i, row in enumerate(rows):
        missing = [key for key in ("method", "seed", *metrics) if key not in row]
        if missing:
            raise DataError(f"row {i} has no {', '.join(map(repr, missing))}; its keys: {', '.join(map(repr, row))}.")
        for metric in metrics:
            if not isinstance(row[metric], Real) or not math.isfinite(row[metric]):
                raise DataError(
                    f"row {i} ({row['method']}, seed {row['seed']}) has {metric} = {row[metric]!r}: a finite number is "
                    "expected. Leave out runs that failed."
                )
    methods, seeds = (list(dict.fromkeys(str(row[key]) for row in rows)) for key in ("method", "seed"))
    return methods, seeds


def style() -> dict[str, Any]:
    """Return the settings of a figure."""
    return {"layout": ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06), "facecolor": "white"}


def tidy(ax: Axes) -> None:
    """Give axes the looks that all have: no frame, small grey ticks, a grid behind."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, color=GREY)
    ax.xaxis.label.set_fontsize(9)
    ax.yaxis.label.set_fontsize(9)
    ax.set_axisbelow(True)
    ax.grid(axis="x", color="#EEEEEE")
