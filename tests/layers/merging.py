"""Fits that merge into the network as they go."""

from __future__ import annotations

import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.adapters.subspace_core import SubspaceCore

MERGING = {
    "rosa_subspace": RandomSubspace(r=2, every=3, unit="steps"),
    "bayes_subspace": SubspaceCore(r=2, every=3, unit="steps"),
}


def fit(model: nn.Module, data, method: str = "rosa_subspace", steps: int = 8, **options):
    adapter = options.pop("adapter") if "adapter" in options else MERGING.get(method)
    return bayespeft.fit(
        model, data, method, adapter=adapter, targets=options.pop("targets", "all-linear"),
        train=TrainConfig(steps=steps, lr=1e-2), progress=False, **options,
    )  # fmt: skip


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
