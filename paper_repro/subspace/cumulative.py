"""The rank of the whole update W - W0 as training goes on: LoRA's stays where it is, that of changing subspaces grows.

    python -m paper_repro.subspace.cumulative [--rank 2] [--seeds 0,1,2] [--redraw]

The teacher and student of `paper_repro.subspace.synthetic`, at a constant rate, so that a shorter run is the beginning of a
longer one. ROSA chooses other triplets every 10 steps. Counted are the singular values that hold 99 % of the update's squared
norm, and those above a thousandth of the largest. Resumable; writes `cumulative.png` beside this file.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from bayespeft import TrainConfig
from bayespeft.report.view import plots
from paper_repro.results import append, read
from paper_repro.subspace.synthetic import COLOURS, INPUTS, fitted, methods, teacher

EXPERIMENT = "cumulative_rank"
STEPS = (10, 20, 40, 80, 160, 320)
SHARE, SMALL = 0.99, 1e-3
PICTURE = Path(__file__).with_name("cumulative.png")


def ranks(update: Tensor) -> tuple[int, int]:
    """Return how many singular values hold `SHARE` of the squared norm, and how many are above `SMALL` of the largest."""
    values = torch.linalg.svdvals(update.double())
    held = values.square().cumsum(0) / values.square().sum()
    return int((held < SHARE).sum()) + 1, int((values > SMALL * values[0]).sum())


def measure(rank: int, steps: Sequence[int], seed: int) -> None:
    """Measure what the results file lacks."""
    x, y, base = teacher(seed)
    for title, method in methods(rank).items():
        for step in steps:
            key = {"method": title, "rank": rank, "seed": seed, "steps": step}
            if any(all(r[k] == v for k, v in key.items()) for r in read(EXPERIMENT)):
                continue
            settings = TrainConfig(steps=step, batch_size=100, lr=0.01, factor_lr={}, clip=0, lr_schedule="constant")
            with fitted((x, y), base, method, settings, seed).using("mean") as trained, torch.no_grad():
                update = trained(torch.eye(INPUTS)).T - base
                error = float((trained(x) - y).square().sum(1).mean())
            held, counted = ranks(update)
            append(EXPERIMENT, **key, held=held, counted=counted, final=error)


def draw(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the numerical rank over steps, the mean over seeds, by method."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for title, colour in COLOURS.items():
        runs = [r for r in records if r["method"] == title]
        steps = sorted({r["steps"] for r in runs})
        means = [statistics.mean(r["counted"] for r in runs if r["steps"] == step) for step in steps]
        # RoSA's is full, too, from the first step.
        style = "o--" if title == "full" else "o-"
        axis.plot(steps, means, style, color=colour, label=title, markersize=4)
    axis.set(xscale="log", xlabel="step", ylabel="rank of W - W0", ylim=(0, None))
    axis.grid(color="#dddddd", linewidth=0.5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=2)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", default=",".join(map(str, STEPS)))
    parser.add_argument("--redraw", action="store_true", help="only draw what was measured")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in map(int, args.seeds.split(",") if not args.redraw else ()):
        measure(args.rank, [int(step) for step in args.steps.split(",")], seed)
    plots.save(draw([r for r in read(EXPERIMENT) if r["rank"] == args.rank]), args.picture)


if __name__ == "__main__":
    main()
