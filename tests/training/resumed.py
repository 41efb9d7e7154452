"""Fits that keep their state in a folder."""

from __future__ import annotations

import bayespeft
from bayespeft import TrainConfig


def fit(model, data, directory=None, steps=8, **options):
    train = TrainConfig(steps=steps, batch_size=20, lr=0.05)
    return bayespeft.fit(
        model, data, targets="all-linear", train=train, progress=False, checkpoint=directory, checkpoint_every=100, **options
    )  # fmt: skip
