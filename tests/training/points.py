"""Points whose labels are clear, or noise."""

from __future__ import annotations

import torch

from bayespeft import TrainConfig

OPTIONS = {"targets": "all-linear", "progress": False}


FREE = TrainConfig(steps="auto", lr=1e-2, average=8.0, calibrate=True, most_steps=400)


def points(n, noise, seed=0):
    """Points of three classes; a share of the labels is drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    wrong = torch.rand(n, generator=generator) < noise
    return x, torch.where(wrong, torch.randint(0, 3, (n,), generator=generator), y)
