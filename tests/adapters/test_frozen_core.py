"""A core between frozen factors."""

from __future__ import annotations

import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.adapters.orthonormal_core import OrthonormalCore


def test_only_the_core_of_a_frozen_core_is_trained(mlp, xy):
    options = {"targets": "all-linear", "train": TrainConfig(steps=3), "progress": False}
    posterior = bayespeft.fit(mlp, xy, "melora", adapter=FrozenCore(r=2), **options)
    layers = 3
    assert posterior.joint_guide.trainable() == layers * 2 * 2 * 2
    turned = bayespeft.fit(mlp, xy, "melora", adapter=OrthonormalCore(r=2), **options)
    start = {stack.name: stack.init for stack in turned.joint_guide.stacks}
    for name, mean in turned.joint_guide.mean().items():
        assert not torch.equal(mean.detach(), start[name]), f"{name} did not move"
