"""The optimiser of a fit: AdamW with a group for each learning rate of factors, for the spread, and for each head."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bayespeft.config import TrainConfig
from bayespeft.layers.factors import StackedFactor
from bayespeft.training.problem import Problem


def parameter_groups(problem: Problem) -> list[dict[str, Any]]:
    """Return what is trained as groups that every torch optimiser takes.

    Each has `params`, the peak learning rate `lr`, `weight_decay`, and as `name` what it holds: "factors", "spread", "head".
    """
    train, joint_guide = problem.train, problem.joint_guide
    spread = {id(parameter) for parameter in joint_guide.latent.spread()}
    stacks = {stack.name: stack for stack in joint_guide.stacks}
    found: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    for name, parameter in joint_guide.named_parameters():
        stack = stacks.get(name.rsplit(".", 1)[-1])
        if id(parameter) in spread:
            key = "spread", train.variational_lr, 0.0
        elif stack is not None:
            key = "head" if stack.role == "head" else "factors", _rate(train, stack), train.weight_decay
        else:
            key = "factors", train.lr, train.weight_decay
        found.setdefault(key, []).append(parameter)
    return [
        {"params": group, "lr": lr, "weight_decay": decay, "name": name} for (name, lr, decay), group in found.items()
    ]


def make_optimiser(problem: Problem) -> torch.optim.Optimizer:
    """Return AdamW over `parameter_groups`."""
    return torch.optim.AdamW(parameter_groups(problem))


def _rate(train: TrainConfig, stack: StackedFactor) -> float:
    """Return the peak learning rate of a stack's elements.

    A step of Adam moves every element by about its rate, so that an output moves by the rate times the number of inputs.
    """
    inputs = stack.init.shape[-1] if stack.init.dim() > 2 else 1
    if stack.role == "head":
        return train.head_lr / inputs
    lr = train.factor_lr.get(stack.factor, train.lr)
    return lr if train.width is None or inputs <= train.width else lr * train.width / inputs
