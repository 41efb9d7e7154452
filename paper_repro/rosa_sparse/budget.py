"""Rank against density at one budget: a change that is of low rank and has large single elements, learned by RoSA.

    python -m paper_repro.rosa_sparse.budget [--ranks 0,2,...] [--seeds 0,1,2]

A linear teacher's change is the sum of a matrix of rank 8 and of single elements at random places, each with half of the
change's squared norm. Students have as many trained numbers as LoRA of rank 16; what their rank leaves over goes into sparse
values. The robust PCA of the change says what could be had. Resumable.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.base import Adapter
from bayespeft.adapters.lora import Lora
from bayespeft.likelihoods.regression import Regression
from paper_repro.results import append, read
from paper_repro.subspace.budget import density_for, lora_budget

EXPERIMENT = "rank_and_density"
INPUTS, OUTPUTS, ROWS, RANK, BUDGET = 128, 64, 2000, 8, 16
SHAPES = [(OUTPUTS, INPUTS)]
DENSITY = 0.05


def teacher(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return x (rows, n), y (rows, m) and the base's weight (m, n): y = x (base + low rank + sparse)^T."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    low = normal(OUTPUTS, RANK) @ normal(RANK, INPUTS)
    sparse = normal(OUTPUTS, INPUTS) * (torch.rand(OUTPUTS, INPUTS, generator=generator) < DENSITY)
    base, x = normal(OUTPUTS, INPUTS) / INPUTS**0.5, normal(ROWS, INPUTS)
    change = (low / low.norm() + sparse / sparse.norm()) * OUTPUTS**0.5
    return x, x @ (base + change).T, base


def measured(rank: int, seed: int, steps: int) -> dict[str, float]:
    """Return the squared error over all outputs at the end, and at the start."""
    x, y, base = teacher(seed)
    density = density_for(SHAPES, lora_budget(SHAPES, BUDGET) - lora_budget(SHAPES, rank))
    adapter: Adapter
    if rank == BUDGET:
        adapter = Lora(r=rank, alpha=2.0 * rank)
    else:
        # Without a low rank there is nothing to warm up.
        recipe = registry.get("methods", "rosa_sparse" if rank else "sparse_only").adapter
        adapter = recipe.replace(r=rank, density=density, **({"alpha": 2.0 * rank} if rank else {}))
    method = registry.get("methods", "rosa_sparse").replace(adapter=adapter)
    student = nn.Sequential(nn.Linear(INPUTS, OUTPUTS, bias=False))
    with torch.no_grad():
        student[0].weight.copy_(base)
    posterior = bayespeft.fit(
        student,
        (x, y),
        method,
        likelihood=Regression(noise=1.0, standardise=False),
        targets="all-linear",
        train=TrainConfig(steps=steps, batch_size=200, lr=3e-2, factor_lr={}, clip=0),
        seed=seed,
        progress=False,
    )
    with posterior.using("mean") as trained, torch.no_grad():
        error = float((trained(x) - y).square().sum(1).mean())
    start = float((x @ base.T - y).square().sum(1).mean())
    trained_numbers = posterior.joint_guide.trainable()
    return {"final": error, "start": start, "trainable": trained_numbers, "density": density if rank < BUDGET else 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", default="0,2,4,8,12,16")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    for seed in map(int, args.seeds.split(",")):
        for rank in map(int, args.ranks.split(",")):
            key = {"rank": rank, "seed": seed, "steps": args.steps}
            if not any(all(r[k] == v for k, v in key.items()) for r in read(EXPERIMENT)):
                append(EXPERIMENT, **key, **measured(rank, seed, args.steps))


if __name__ == "__main__":
    main()
