"""Groups of the optimiser: the rate, and the decay, of each kind of parameter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from bayespeft.adapters.lora import Lora
from bayespeft.config import TrainConfig
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.training.optimiser import _rate, make_optimiser
from tests.training.helpers import Direct, UnitNormal, problem


def test_parameter_groups_have_their_rates_and_no_decay_on_spread(mlp, xy):
    train = TrainConfig(lr=0.1, variational_lr=0.2, weight_decay=0.3)
    with problem(mlp, xy, Direct(), MeanField(), train=train) as p:
        groups = make_optimiser(p).param_groups
        assert [(g["lr"], g["weight_decay"]) for g in groups] == [(0.1, 0.3), (0.2, 0.0)]
        assert {id(q) for q in groups[1]["params"]} == {id(q) for q in p.joint_guide.latent.spread()}
        assert sum(len(g["params"]) for g in groups) == len(list(p.joint_guide.parameters()))


def test_wide_inputs_and_heads_learn_in_units_of_outputs():
    """Each matrix moves its outputs by as much in a step: that of LoRA's A from a width on, that of a head always."""
    model = nn.Sequential(nn.Linear(64, 40), nn.Linear(40, 3))
    x = torch.randn(20, 64), torch.randn(20, 3)
    train = TrainConfig(steps=1, lr=0.4, head_lr=0.9, width=50, factor_lr={"B": 0.2})
    with problem(model, x, Lora(r=2), Point(), likelihood=UnitNormal(), train=train) as p:
        stacks = {stack.name: stack for stack in p.stacks}
        rates = {}
        for group in make_optimiser(p).param_groups:
            for name, parameter in p.joint_guide.named_parameters():
                if any(parameter is other for other in group["params"]):
                    rates[name.rsplit(".", 1)[-1]] = group["lr"]
    assert {(stacks[n].factor, stacks[n].init.shape[-1]): rate for n, rate in rates.items()} == pytest.approx(
        {("A", 64): 0.4 * 50 / 64, ("A", 40): 0.4, ("B", 2): 0.2}
    )
    head = replace(stacks["A_2x40"], role="head")
    assert _rate(train, head) == pytest.approx(0.9 / 40)
