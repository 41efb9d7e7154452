"""ROSA's synthetic experiment: a linear teacher whose change has rank 24, learned with less rank and with more.

    python -m paper_repro.subspace.synthetic [--ranks 1,8,16,24] [--lrs 0.01,0.03] [--steps 500] [--redraw]

Y = X (W0 + D)^T with X (5000, 512) standard normal, W0 and D (32, 512), rank D = 24; the student starts at W0. LoRA can't
get below the tail energy of what it is to learn; full fine-tuning can, and so can a subspace that changes. Squared errors
are sums over the 32 outputs and means over rows: in the curves those of the batches, at the end all of them. Each curve is
that of the rate with the lowest error at the end. ROSA changes its subspace every 10 steps; RoSA spends half of LoRA's
trainable numbers on its low-rank part, half on its sparse one. Results go into the one results file as they are made; what
is there is not run again. Writes `synthetic.png` beside this file.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import bayespeft
from bayespeft import Method, TrainConfig, registry
from bayespeft.adapters.lora import Lora
from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.adapters.sparse_low_rank import SparseLowRank
from bayespeft.likelihoods.regression import Regression
from bayespeft.report.view import plots
from paper_repro.results import append, read
from paper_repro.subspace.budget import density_for, lora_budget

EXPERIMENT = "synthetic_rank"
ROWS, INPUTS, OUTPUTS, RANK = 5000, 512, 32, 24
BATCH = 500
PICTURE = Path(__file__).with_name("synthetic.png")
COLOURS = {"LoRA": "#D55E00", "ROSA": "#0072B2", "RoSA": "#009E73", "full": "#222222"}


def teacher(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return x (5000, 512), y (5000, 32) and W0 (32, 512); what W0 explains and what the change adds are of one size."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(ROWS, INPUTS, generator=generator)
    base = torch.randn(OUTPUTS, INPUTS, generator=generator) / math.sqrt(INPUTS)
    left, right = torch.randn(OUTPUTS, RANK, generator=generator), torch.randn(RANK, INPUTS, generator=generator)
    return x, x @ (base + left @ right / math.sqrt(RANK * INPUTS)).T, base


def floor(x: Tensor, residual: Tensor, rank: int) -> float:
    """Return min ||residual - x D^T||^2 over D of a rank: what x can't reach, and sum_{i > rank} sigma_i^2(P_x residual).

    Args:
        x: (n, inputs).
        residual: (n, outputs).
        rank: of D (Eckart and Young 1936).
    """
    basis = torch.linalg.qr(x.double()).Q
    inside = basis.T @ residual.double()
    outside = residual.double().square().sum() - inside.square().sum()
    return float(torch.linalg.svdvals(inside)[rank:].square().sum() + outside.clamp_min(0))


def methods(rank: int) -> dict[str, Method]:
    """Return what is compared at a rank, by its title in the picture."""
    budget = lora_budget([(OUTPUTS, INPUTS)], rank)
    half = rank // 2
    density = density_for([(OUTPUTS, INPUTS)], budget - lora_budget([(OUTPUTS, INPUTS)], half))
    # Without a low rank there is nothing to warm up.
    warm_up: dict[str, Any] = {} if half else {"mask_steps": 0}
    adapters = {
        "LoRA": ("mle", Lora(r=rank, alpha=2.0 * rank)),
        "ROSA": ("rosa_subspace", RandomSubspace(r=rank, every=10, unit="steps")),
        "RoSA": ("rosa_sparse", SparseLowRank(r=half, alpha=2.0 * max(half, 1), density=density, **warm_up)),
    }
    found = {
        title: registry.get("methods", name).replace(adapter=adapter) for title, (name, adapter) in adapters.items()
    }
    return {**found, "full": registry.get("methods", "full")}


def squared_error(nll: float) -> float:
    """Return the sum of squares whose normal NLL with noise 1 is `nll` nats, over all outputs."""
    return 2 * nll - OUTPUTS * math.log(2 * math.pi)


def fitted(
    data: tuple[Tensor, Tensor], base: Tensor, method: Method, settings: TrainConfig, seed: int
) -> bayespeft.Posterior:
    """Train a student from W0."""
    student = nn.Sequential(nn.Linear(INPUTS, OUTPUTS, bias=False))
    with torch.no_grad():
        student[0].weight.copy_(base)
    return bayespeft.fit(
        student,
        data,
        method,
        likelihood=Regression(noise=1.0, standardise=False),
        targets="all-linear",
        train=settings,
        seed=seed,
        progress=False,
    )


def train(
    data: tuple[Tensor, Tensor], base: Tensor, method: Method, settings: TrainConfig, seed: int
) -> dict[str, Any]:
    """Train a student from W0; return its curve [[step, squared error]], the error at the end, and what it took."""
    posterior = fitted(data, base, method, settings, seed)
    with posterior.using("mean") as trained:
        final = float((trained(data[0]) - data[1]).square().sum(1).mean())
    return {
        "curve": [[record.step, squared_error(record.nll)] for record in posterior.history.records],
        "final": final,
        "trainable": posterior.joint_guide.trainable(),
        "seconds": round(posterior.history.seconds, 1),
        "refresh_seconds": round(posterior.history.refresh_seconds, 2),
    }


def measure(ranks: list[int], rates: list[float], steps: int, seed: int) -> None:
    """Measure what the results file lacks."""
    x, y, base = teacher(seed)
    for rank in ranks:
        for title, method in methods(rank).items():
            # Full fine-tuning has no rank, and is trained once.
            key = {"method": title, "rank": None if title == "full" else rank, "seed": seed, "steps": steps}
            if any(all(record[k] == v for k, v in key.items()) for record in read(EXPERIMENT)):
                continue
            runs: dict[float, dict[str, Any]] = {}
            for lr in rates:
                settings = TrainConfig(steps=steps, batch_size=BATCH, lr=lr, factor_lr={}, clip=0)
                runs[lr] = train((x, y), base, method, settings, seed)
            best = min(runs, key=lambda lr: runs[lr]["final"])
            append(
                EXPERIMENT,
                **key,
                lr=best,
                start=float((y - x @ base.T).square().sum(1).mean()),
                floor=floor(x, y - x @ base.T, rank) / ROWS if title == "LoRA" else 0.0,
                **runs[best],
                settings=method.adapter.model_dump(mode="json"),
            )


def draw(records: list[dict[str, object]]) -> Figure:
    """Draw a panel for each rank: squared error over steps, and LoRA's floor."""
    ranks = sorted({r["rank"] for r in records if r["rank"] is not None})
    figure = Figure(figsize=(3 * len(ranks), 3.2), layout="constrained")
    axes = figure.subplots(1, len(ranks), sharey=True, squeeze=False)[0]
    for axis, rank in zip(axes, ranks, strict=True):
        for r in records:
            if r["rank"] in (rank, None):
                steps, errors = zip(*r["curve"], strict=True)
                axis.plot(steps, errors, color=COLOURS[r["method"]], label=r["method"], linewidth=1.5)
            if r["rank"] == rank and r["method"] == "LoRA" and r["floor"] > 1e-6:
                axis.axhline(r["floor"], color="#777777", linestyle="--", linewidth=1, label=f"floor of rank {rank}")
        axis.set(yscale="log", title=f"rank {rank}", xlabel="step", ylim=(1e-6, None))
        axis.legend(fontsize=7, frameon=False)
    axes[0].set_ylabel("squared error")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", default="1,8,16,24")
    parser.add_argument("--lrs", default="0.01,0.03", help="peak learning rates, of which the best is kept")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--redraw", action="store_true", help="only draw what was measured")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if not args.redraw:
        ranks, rates = [int(v) for v in args.ranks.split(",")], [float(v) for v in args.lrs.split(",")]
        measure(ranks, rates, args.steps, args.seed)
    records = [r for r in read(EXPERIMENT) if (r["seed"], r["steps"]) == (args.seed, args.steps)]
    plots.save(draw(records), args.picture)


if __name__ == "__main__":
    main()
