"""The r x r core: where A's prior is centered, in a fit, in a file, and in a fit that builds on a LoRA."""

from __future__ import annotations

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.core import Core
from tests.adapters.helpers import a_layer

OPTIONS = {"targets": "all-linear", "progress": False}


@pytest.mark.parametrize("anchored", [True, False])
def test_the_prior_of_an_anchored_a_is_centered_at_its_start(anchored):
    factors = Core(r=3, anchored=anchored).factors(a_layer(7, 5), torch.Generator().manual_seed(0))
    assert (factors["A"].center is factors["A"].init) == anchored
    assert factors["B"].center is None


def centers_of(posterior):
    return {key[0]: value for key, value in posterior.joint_guide.centers().items() if key[1] == "A"}


def test_a_file_says_where_it_is(mlp, xy, tmp_path):
    fitted = bayespeft.fit(mlp, xy, "melora", train=TrainConfig(steps=5), **OPTIONS)
    fitted.save(tmp_path / "out")
    loaded = bayespeft.load(tmp_path / "out", mlp)
    own, theirs = centers_of(loaded), centers_of(fitted)
    assert own.keys() == theirs.keys() != set()
    for layer, center in theirs.items():
        assert center.any()
        assert torch.equal(own[layer], center)


def test_on_a_lora_it_is_the_loras_own(mlp, xy):
    lora = bayespeft.fit(mlp, xy, "mle", train=TrainConfig(steps=30, lr=1e-2), **OPTIONS)
    begun = bayespeft.fit(mlp, xy, "melora", start=lora, train=TrainConfig(steps=1, lr=0.0), **OPTIONS)
    centers = centers_of(begun)
    means = begun.joint_guide.mean()
    stacks = [stack for stack in begun.joint_guide.stacks if stack.factor == "A"]
    assert centers.keys() == {layer for stack in stacks for layer in stack.layers}
    for stack in stacks:
        for layer, row in stack.rows.items():
            torch.testing.assert_close(centers[layer], means[stack.name][row])


@pytest.mark.parametrize("anchored", [True, False])
def test_where_nothing_is_learned_an_anchored_a_stays_and_another_goes_to_zero(anchored, mlp):
    """A network whose last layer lets next to nothing through: the data's gradients are far below the prior's."""
    torch.nn.init.normal_(mlp[-1].weight, std=1e-4, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, mlp[0].in_features, generator=generator), torch.arange(40) % 3
    method = bayespeft.methods()["melora"]
    method = method.replace(adapter=method.adapter.replace(anchored=anchored))
    settings = TrainConfig(steps=150, lr=1e-2, kl_warmup=0.0, kl_pace=0.0)
    fitted = bayespeft.fit(mlp, (x, y), method, targets=["0"], train=settings, progress=False)
    for layer, center in centers_of(fitted).items():
        (stack,) = (stack for stack in fitted.joint_guide.stacks if stack.factor == "A" and layer in stack.rows)
        a = fitted.joint_guide.mean()[stack.name][stack.rows[layer]]
        if anchored:
            torch.testing.assert_close(a, center, atol=0.03, rtol=0)
        else:
            assert a.abs().max() < 0.03
