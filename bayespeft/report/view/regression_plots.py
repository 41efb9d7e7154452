"""The plot of a regression report: where targets fall in their predicted laws, and how often intervals hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bayespeft.report.series import pit, quantiles
from bayespeft.report.view.plots import ABOVE, BARS, BLUE, GREY, INK, VERMILION, style, tidy
from bayespeft.report.view.table import title

if TYPE_CHECKING:
    from bayespeft.report.regression import RegressionReport


def calibration(report: RegressionReport) -> Figure:
    """Draw the histogram of PIT values and the calibration curve, side by side.

    Both are flat, or on the diagonal, up to the grey band if predictions are calibrated. The band is where 95 % of samples
    of n independent examples fall, at each bin and each level on its own. A U in the histogram says over-confident, a hump
    under-confident, a slope too high or too low.
    """
    figure = Figure(figsize=(7.6, 4.4), **style())
    left, right = figure.subplots(1, 2)
    above = {**ABOVE, "ha": "left", "va": "bottom", "xycoords": "axes fraction"}
    # The title makes room above; neither may widen the left panel's share.
    left.annotate(str(report.verdict), (0, 1), (0, 6), fontsize=8.5, **above).set_in_layout(False)
    left.set_title(title(report) or "regression", loc="left", fontsize=11, fontweight="bold", color=INK, pad=22)
    _histogram(left, report)
    _curve(right, report)
    return figure


def _histogram(ax: Axes, report: RegressionReport) -> None:
    found = pit(report.pit, report.n)
    width, share = 1 / len(found.x), [100 * y for y in found.y]
    low, high = 100 * found.low[0], 100 * found.high[0]
    ax.axhspan(low, high, color=BARS, linewidth=0, zorder=1, alpha=0.7)
    # Bars hide the band, but must not hide where it ends.
    for end in (low, high):
        ax.axhline(end, color=INK, linewidth=0.6, alpha=0.6, zorder=3)
    ax.axhline(100 * width, color=INK, linestyle="--", linewidth=1, zorder=3)
    ax.bar(found.x, share, width, align="edge", facecolor=BLUE, edgecolor="white", linewidth=0.8, zorder=2)
    ax.set(xlim=(0, 1), ylim=(0, 1.15 * max(*share, high)))
    ax.set(xlabel="Place of the target in its predicted law (PIT)", ylabel="Targets (%)")
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    tidy(ax)


def _curve(ax: Axes, report: RegressionReport) -> None:
    found = quantiles(report.curve, report.n)
    levels, curve, low, high = (100 * np.asarray(part) for part in (found.x, found.y, found.low, found.high))
    ax.fill_between(levels, low, high, color=BARS, linewidth=0, alpha=0.7, zorder=1, label="sampling noise, 95 %")
    ax.plot([0, 100], [0, 100], color=INK, linestyle="--", linewidth=1, zorder=3, label="perfect calibration")
    ax.plot(levels, curve, "o-", color=VERMILION, markersize=3, linewidth=1.2, zorder=4, label="targets", clip_on=False)
    ax.set(xlim=(0, 100), ylim=(0, 100), xlabel="Level of the predicted quantile (%)", ylabel="Targets below it (%)")
    ax.legend(loc="upper left", fontsize=8, frameon=False, labelcolor=INK)
    ax.annotate(
        f"calibration error {100 * report.calibration_error:.1f} %\nnoise reaches {100 * report.calibration_noise:.1f} %",
        (0.97, 0.04), xycoords="axes fraction", ha="right", va="bottom", fontsize=8, color=GREY,
    )  # fmt: skip
    tidy(ax)
