"""Fits that keep their state in a folder, and are killed."""

from __future__ import annotations

import pytest

import bayespeft
from bayespeft import TrainConfig
from bayespeft.training import loop


def fit(model, data, directory=None, steps=8, **options):
    train = TrainConfig(steps=steps, batch_size=20, lr=0.05)
    options = {"targets": "all-linear", "progress": False, "checkpoint_every": 100, **options}
    return bayespeft.fit(model, data, train=train, checkpoint=directory, **options)


class Killed(Exception):
    """What ends a training run from outside."""


def killed_after(monkeypatch, done: int, train) -> None:
    """Kill a run right after it has written the state of so many steps."""
    original = loop.Checkpoint.write

    def dies(self, state):
        original(self, state)
        if state["done"] >= done:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop.Checkpoint, "write", dies)
        with pytest.raises(Killed):
            train()
