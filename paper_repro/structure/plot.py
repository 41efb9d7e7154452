"""The picture of what full fine-tuning changes: spectrum, outliers, and what a rank or as many elements explain."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from bayespeft.report.view.plots import BLUE, GREY, SKY, VERMILION
from paper_repro.structure.measure import by_count, by_rank

COLOURS = (BLUE, VERMILION, SKY)


def draw(updates: Mapping[str, Tensor], noise: str) -> Figure:
    """Draw updates (m, n) by name, "block layer"; blocks differ by line, layers by colour, `noise` is grey."""
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    panels = figure.subplots(1, 3)
    layers = list(dict.fromkeys(name.split()[-1] for name in updates if name != noise))
    blocks = list(dict.fromkeys(name.split()[0] for name in updates if name != noise))
    for name, update in updates.items():
        block, layer = name.split()[0], name.split()[-1]
        style = (
            {"color": GREY, "linestyle": "-", "linewidth": 2.5, "alpha": 0.6, "label": name}
            if name == noise
            else {
                "color": COLOURS[layers.index(layer)],
                "linestyle": ("-", "--", ":")[blocks.index(block)],
                "linewidth": 1.4,
                "label": f"block {block}, {layer}",
            }
        )
        m, n = update.shape
        values = torch.linalg.svdvals(update.double())
        panels[0].loglog(range(1, len(values) + 1), (values / values.norm()).numpy(), **style)
        sizes = update.abs().flatten().sort(descending=True).values / update.square().mean().sqrt()
        places = (
            torch.logspace(0, torch.log10(torch.tensor(float(len(sizes)))).item(), 120).long().clamp_max(len(sizes)) - 1
        )
        panels[1].semilogy(sizes[places].numpy(), ((places + 1) / len(sizes)).numpy(), **style)
        ranks = [r for r in range(1, min(m, n) + 1) if r * (m + n) <= 0.6 * m * n]
        kept = [r * (m + n) / (m * n) for r in ranks]
        panels[2].plot(kept, by_rank(update, ranks), **style)
        panels[2].plot(kept, by_count(update, [r * (m + n) for r in ranks]), **{**style, "linewidth": 0.6})
    panels[0].set(title="Singular values", xlabel="index", ylabel="share of the Frobenius norm")
    panels[1].set(
        title="Sizes of elements", xlabel="size / root mean square", ylabel="fraction of elements that are larger"
    )
    panels[1].set_xlim(left=0)
    panels[2].set(
        title="Explained",
        xlabel="numbers kept: a rank (thick), or elements (thin)",
        ylabel="share of the squared norm",
        ylim=(0, 1),
        xlim=(0, 0.6),
    )
    for axis in (panels[2].xaxis, panels[2].yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    for panel in panels:
        panel.title.set_fontsize(11)
        panel.grid(color="#dddddd", linewidth=0.5)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure
