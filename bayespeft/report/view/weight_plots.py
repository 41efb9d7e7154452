"""A picture of what a posterior says about one layer's weight: how many directions move, where, and by how much."""

from __future__ import annotations

import textwrap
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from bayespeft.report.view.plots import ABOVE, BLUE, GREY, INK, VERMILION, style, tidy

# This many eigenvalues are drawn where there are too many to compute all.
LEADING = 64


class CoreLaw(Protocol):
    """See `bayespeft.analysis.q_law.QLaw`."""

    @property
    def std(self) -> Tensor:
        """(r, n)."""

    @property
    def published_std(self) -> Tensor:
        """(r, n)."""


class Covariance(Protocol):
    """See `bayespeft.analysis.weight_covariance.WeightCovariance`."""

    m: int
    n: int
    width: int
    exact: bool

    @property
    def solvable(self) -> bool:
        """All eigenvalues can be computed."""

    @property
    def q_law(self) -> Any:
        """A `CoreLaw`, or None."""

    def eigenvalues(self, k: int | None = None) -> Tensor:
        """The k largest, or all, descending."""

    def std(self) -> Tensor:
        """(m, n)."""

    def trace(self) -> float:
        """Sum of variances."""


class Posterior(Protocol):
    """See `bayespeft.posterior.posterior.Posterior`."""

    def weight_covariance(self, layer: str) -> Any:
        """Return a `Covariance`."""


def weight_law(posterior: Posterior, layer: str) -> Figure:
    """Draw the covariance of a layer's weight.

    From left to right: the eigenvalues that are not zero; the marginal standard deviation of each weight; and, where the
    adapter has a core C whose elements are uncorrelated, the standard deviations of Q = C A, as they are against as the
    Me-LoRA paper prints them.

    Args:
        posterior: fitted, with a Gaussian guide.
        layer: the layer's name.

    Raises:
        TargetError: no adapted layer has that name. GuideError: it has no spread, or the guide is no Gaussian.
    """
    covariance: Covariance = posterior.weight_covariance(layer)
    law: CoreLaw | None = covariance.q_law
    columns = 2 if law is None else 3
    figure = Figure(figsize=(0.4 + 3.7 * columns, 3.9), **style())
    panels = figure.subplots(1, columns)
    _draw_spectrum(panels[0], covariance)
    _draw_std(figure, panels[1], covariance)
    if law is not None:
        _draw_core(panels[2], law)
    title = f"Layer {layer}: its weight under q" + ("" if covariance.exact else ", linearised at the mean")
    figure.suptitle(textwrap.fill(title, 38 * columns), fontsize=11, fontweight="bold", color=INK)
    return figure


def _draw_spectrum(ax: Axes, covariance: Covariance) -> None:
    values = covariance.eigenvalues(None if covariance.solvable else LEADING)
    size = covariance.m * covariance.n
    known = f"rank {len(values):,}" if covariance.solvable else f"the {LEADING} largest of {covariance.width:,}"
    _head(ax, "Eigenvalues of Cov(vec W)", f"{known} in {size:,} dimensions, trace {covariance.trace():.3g}")
    if len(values):
        ax.semilogy(range(1, len(values) + 1), values.numpy(), "o", color=BLUE, markersize=3, markeredgewidth=0)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    else:
        middle: dict[str, Any] = {**ABOVE, "xy": (0.5, 0.5), "xycoords": "axes fraction", "va": "center"}
        ax.annotate("none: every draw\ngives the same weight", xytext=(0, 0), fontsize=9, **middle)
        ax.set(xticks=[], yticks=[])
    ax.set(xlabel="Index", ylabel="Variance along the direction")
    tidy(ax)


def _draw_std(figure: Figure, ax: Axes, covariance: Covariance) -> None:
    std = covariance.std().numpy()
    image = ax.imshow(std, aspect="auto", cmap="cividis", vmin=0, vmax=std.max() or 1)
    _head(ax, "Standard deviation of each weight", f"from {std.min():.2g} to {std.max():.2g}")
    ax.set(xlabel=f"Input (n = {covariance.n:,})", ylabel=f"Output (m = {covariance.m:,})")
    bar = figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02)
    bar.ax.tick_params(labelsize=8, color=GREY)
    bar.outline.set_visible(False)
    tidy(ax)
    ax.grid(visible=False)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_core(ax: Axes, law: CoreLaw) -> None:
    printed, correct = law.published_std.flatten().numpy(), law.std.flatten().numpy()
    # Thousands of points are an image within a vector file, which would otherwise take megabytes.
    ax.plot(correct, printed, "o", color=BLUE, markersize=3, alpha=0.5, markeredgewidth=0, rasterized=True)
    most = 1.05 * (printed.max() or 1)
    ax.plot([0, most], [0, most], color=VERMILION, linestyle="--", linewidth=1)
    ax.annotate("equal", (0.9 * most, 0.9 * most), (8, -14), fontsize=8, **{**ABOVE, "color": VERMILION})
    note = f"printed / correct: {printed.sum() / correct.sum():.2f} on average" if correct.any() else ""
    _head(ax, "Standard deviation of Q = CA", note)
    ax.set(xlim=(0, most), ylim=(0, most), xlabel="Correct", ylabel="As printed, \N{GREEK CAPITAL LETTER OMEGA}|A|")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    tidy(ax)


def _head(ax: Axes, title: str, note: str) -> None:
    """Title, and numbers below it, above the axes where they can't hide a dot."""
    ax.set_title(title, fontsize=10, color=INK, pad=20)
    ax.annotate(note, (0.5, 1), (0, 6), xycoords="axes fraction", fontsize=8, va="bottom", **ABOVE)
