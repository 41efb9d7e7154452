"""BLoB, Me-LoRA and ROSA with one thing changed at a time on a small network: curves, how much runs differ, how good.

    python -m paper_repro.posteriors.digits [--methods melora,blob] [--seeds 0,1,2] [--steps 150] [--redraw]

A network that knows half of scikit-learn's digits learns the others from 300 rows, which are the same for all seeds: what a
seed decides is the start, the noise and the order of rows. The variants are those of `paper_repro.posteriors.variants` and of
`paper_repro.subspace.ablation`, and plain LoRA (`mle`). Each point of a curve is the mean training NLL over the steps since the
one before. Resumable; writes `convergence.png` beside this file.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import bayespeft
from bayespeft import Method, Posterior, registry
from bayespeft.report.view import plots
from paper_repro.defaults.networks import network, rows
from paper_repro.posteriors.common import metrics
from paper_repro.posteriors.variants import ANYWHERE as VARIANTS
from paper_repro.results import append, read
from paper_repro.subspace.ablation import CHANGES

EXPERIMENT = "digits_variants"
ROSA = {f"rosa_{change}": settings for change, settings in CHANGES.items()}
TASK, ROWS, EVERY, DRAWS = "half the digits", 300, 25, 10
# The network is small and has much to learn, in few steps.
RATE = 10
# A panel each: the noise of BLoB and of Me-LoRA, beside plain LoRA.
SHOWN = {
    "BLoB": {"mle": plots.INK, "blob": plots.VERMILION, "blob_batch": plots.BLUE, "blob_two_optimisers": plots.GREY},
    "Me-LoRA": {"mle": plots.INK, "melora": plots.VERMILION, "melora_batch": plots.BLUE, "melora_kl_10": plots.GREY},
}
PICTURE = Path(__file__).with_name("convergence.png")


def method(name: str, steps: int) -> Method:
    """Return a method that takes this many steps of one schedule, as the variants do, at `RATE` times its own rate."""
    found: Method = VARIANTS.get(name) or registry.get("methods", "rosa_subspace" if name in ROSA else name)
    if name in ROSA:
        found = found.replace(name=name, adapter=found.adapter.replace(**ROSA[name]))
    train = {"steps": steps, "batch_size": 32, "lr": RATE * found.train.lr, "calibrate": False, "lr_schedule": "linear"}
    return found.replace(train=found.train.replace(**train))


def fitted(name: str, seed: int, steps: int) -> Posterior:
    """Fit a method to the training rows."""
    x, y, pool = rows(TASK)
    made = network(TASK, x[:pool], y[:pool])
    return bayespeft.fit(
        made, (x[:ROWS], y[:ROWS]), method(name, steps), targets="all-linear", seed=seed, progress=False
    )


def measured(posterior: Posterior) -> dict[str, Any]:
    """Return the curve [[step, NLL in nats]] of a run, and what its posterior is like on the test rows."""
    x, y, pool = rows(TASK)
    nlls = [record.nll for record in posterior.history.records]
    every = min(EVERY, len(nlls))
    starts = range(0, len(nlls) - every + 1, every)
    found = posterior.predict((x[pool:], y[pool:]), draws=DRAWS, seed=0)
    return {
        "curve": [[start + every, round(statistics.mean(nlls[start : start + every]), 5)] for start in starts],
        "test_rows": len(found),
        "draws": found.draws,
        **metrics(found.log_probs, found.labels),
        "mutual_information": round(float(found.mutual_information.mean()), 5),
        "trainable": posterior.joint_guide.trainable(),
        "seconds": round(posterior.history.seconds, 1),
    }


def over_seeds(records: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, list[float]]]:
    """Return each step of a method's curves with the NLL of every seed there."""
    curves = [dict(r["curve"]) for r in records if r["method"] == name]
    return [(step, [curve[step] for curve in curves]) for step in (curves[0] if curves else ())]


def draw(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the mean over seeds and a band of one standard deviation to each side, by method."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axis, (title, colours) in zip(figure.subplots(1, 2, sharey=True), SHOWN.items(), strict=True):
        for name, colour in colours.items():
            points = over_seeds(records, name)
            if not points:
                continue
            steps, means = [step for step, _ in points], [statistics.mean(values) for _, values in points]
            sds = [statistics.stdev(values) if len(values) > 1 else 0.0 for _, values in points]
            axis.plot(steps, means, color=colour, label=name)
            low, high = ([m + sign * s for m, s in zip(means, sds, strict=True)] for sign in (-1, 1))
            axis.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.set(title=title, xlabel="step", ylim=(0, None))
        axis.grid(color="#dddddd", linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.lines:
            axis.legend(frameon=False, fontsize=9)
    figure.axes[0].set_ylabel("training NLL, nats")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=TASK, choices=[TASK])
    parser.add_argument("--methods", default=",".join(("mle", *VARIANTS, *ROSA)))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--redraw", action="store_true", help="only draw what was measured")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in map(int, args.seeds.split(",") if not args.redraw else ()):
        for name in args.methods.split(","):
            key = {"task": TASK, "method": name, "seed": seed, "steps": args.steps}
            if not any(all(r[k] == v for k, v in key.items()) for r in read(EXPERIMENT)):
                append(EXPERIMENT, **key, rows=ROWS, **measured(fitted(name, seed, args.steps)))
    plots.save(draw([r for r in read(EXPERIMENT) if r["steps"] == args.steps]), args.picture)


if __name__ == "__main__":
    main()
