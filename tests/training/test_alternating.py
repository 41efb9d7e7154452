"""Two optimisers in turn: the prior terms get steps of their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.mean_field_reversed import MeanFieldReversed
from bayespeft.priors.normal import Normal
from bayespeft.training.trainer import Trainer
from tests.references.agreement import agree
from tests.training.helpers import Direct, problem


@pytest.mark.parametrize("spec", [MeanField(), MeanFieldReversed()])
def test_the_prior_loss_is_what_the_objective_adds(mlp, xy, spec):
    with problem(mlp, xy, Direct(), spec, point_prior=Normal(scale=0.5)) as p:
        batch = next(iter(p.examples.batches(60)))
        losses = []
        for weight in (0.7, 0.0):
            torch.manual_seed(0)  # the same draw: what the two differ by is the prior's
            losses.append(p.loss(batch, weight)[0])
        own, added = p.prior_loss(0.7), losses[0] - losses[1]
        torch.testing.assert_close(own, added, atol=1e-3, rtol=1e-4)
        parameters = list(p.joint_guide.parameters())
        found = torch.autograd.grad(own, parameters, allow_unused=True)
        expected = torch.autograd.grad(added, parameters, allow_unused=True)
        for parameter, one, other in zip(parameters, found, expected, strict=True):
            zeros = torch.zeros_like(parameter)
            torch.testing.assert_close(
                zeros if one is None else one, zeros if other is None else other, atol=1e-4, rtol=1e-3
            )


def test_one_step_is_adamw_on_the_nll_and_then_descent_on_the_kl(mlp, xy):
    """With lr = 0 only the second step moves anything: mean -= rate * weight * (mean - center) / (N sd^2)."""
    train = TrainConfig(
        steps=1,
        lr=0,
        variational_lr=0,
        kl_lr=0.3,
        warmup=0,
        clip=0,
        kl_weight=2.0,
        batch_size=60,
        lr_schedule="constant",
    )
    with problem(mlp, xy, Direct(), MeanField(init_std=(0.1, 0.1)), latent_prior=Normal(scale=0.5), train=train) as p:
        loc = next(iter(p.joint_guide.latent.loc.values()))
        with torch.no_grad():
            loc.fill_(0.4)
        Trainer(p).optimise()
        torch.testing.assert_close(loc, torch.full_like(loc, 0.4 - 0.3 * (2 / 60) * 0.4 / 0.25))
        # d KL / d ln std = std^2 / sd^2 - 1.
        raw = next(iter(p.joint_guide.latent.raw.values()))
        expected = torch.tensor(0.1).log() - 0.3 * (2 / 60) * (0.01 / 0.25 - 1)
        torch.testing.assert_close(raw, torch.full_like(raw, float(expected)))


def test_without_a_prior_there_is_nothing_to_descend(mlp, xy):
    train = TrainConfig(steps=6, lr=1e-2)
    options = {"targets": "all-linear", "progress": False}
    plain = bayespeft.fit(mlp, xy, "mle", train=train, **options)
    alternating = bayespeft.fit(mlp, xy, "mle", train=train.replace(kl_lr=0.1), **options)
    for name, value in plain.joint_guide.mean().items():
        assert torch.equal(value, alternating.joint_guide.mean()[name])


def test_a_rate_of_zero_is_no_rate():
    with pytest.raises(ConfigError, match="kl_lr"):
        TrainConfig(kl_lr=0)


def test_blob_ends_with_the_spread_of_its_official_code():
    """Mean standard deviation after 150 steps: .05343, .05384, .05343 with three seeds of the official code.

    Functions `blob_linear_forward` and `div_posterior_prior` of Wang-ML-Lab/bayesian-peft (bc6a4a7) on peft's LoRA layer, in
    its loop: AdamW (1e-3) on the NLL, then SGD (.01) on the weighted KL; torch 2.13. One optimiser for both gives .0041.
    """
    x = torch.sin(torch.arange(32 * 16).reshape(32, 16) * 0.7 + 1)
    y = x[:, :3].argmax(1)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 3))
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.cos(torch.arange(parameter.numel()) * 1.3 + i).reshape(parameter.shape) / 4)
    train = TrainConfig(steps=150, batch_size=8, lr=1e-3, variational_lr=1e-3)
    posterior = bayespeft.fit(model, (x, y), "blob_official", targets=["0"], train=train, progress=False)
    found = float(posterior.joint_guide.latent.std()["A_8x16"].mean().detach())
    agree("BLoB: spread after 150 steps", "Wang-ML-Lab/bayesian-peft bc6a4a7", found, 0.05357, atol=0.02 * 0.05357)
