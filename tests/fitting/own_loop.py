"""A loop of somebody's own, as plain as can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import bayespeft
from bayespeft import Adaptation, TrainConfig

TEN = TrainConfig(steps=10, batch_size=15, lr=1e-2)


OPTIONS: dict[str, Any] = {"targets": "all-linear", "seed": 3}


def batches(posterior_or_adaptation: Any, data: Any, count: int, batch_size: int = 15, seed: int = 3) -> list[Any]:
    """The batches of `fit` with this seed: those of all data in the order of its own generator."""
    problem = posterior_or_adaptation._problem
    examples = bayespeft.data.source.source_of(data, "train").examples()
    generator = torch.Generator().manual_seed(seed)
    found: list[Any] = []
    while len(found) < count:
        found += [(b.inputs, b.labels) for b in examples.batches(batch_size, shuffle=generator)]
    assert problem.classes == 3
    return found[:count]


def own_loop(adaptation: Adaptation, batches: list[Any], optimiser: Any = None, schedule: Any = None) -> None:
    """The plainest loop there is, with the clipping and the schedule that `fit` has."""
    train = adaptation._problem.train
    optimiser = optimiser or adaptation.optimizer()
    schedule = schedule or adaptation.schedule(optimiser)
    for first in range(0, len(batches), train.accumulate):
        some = batches[first : first + train.accumulate]
        for batch in some:
            (adaptation.loss(batch) / len(some)).backward()
        if train.clip:
            nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], train.clip)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()


def same(one: Any, other: Any) -> bool:
    mine, yours = one.joint_guide.state_dict(), other.joint_guide.state_dict()
    return mine.keys() == yours.keys() and all(torch.equal(value, yours[name]) for name, value in mine.items())
