"""The objective: nats per example, closed-form KL, whatever the batch, the accumulation or the size of the data."""

from __future__ import annotations

import math
from itertools import islice

import pyro
import pytest
import torch
from torch import nn

from bayespeft.adapters.core import Core
from bayespeft.adapters.lora import Lora
from bayespeft.config import TrainConfig
from bayespeft.errors import FitError, GuideError
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.priors.flat import Flat
from bayespeft.priors.normal import Normal
from bayespeft.training.loop import _endless, run
from bayespeft.training.problem import Problem
from tests.training.helpers import problem

MODES = ["batch", "example", "flipout", "token"]


def one_batch(p: Problem, size: int):
    return next(iter(p.examples.batches(size)))


@pytest.mark.parametrize("noise", MODES)
def test_prior_part_of_the_loss_is_the_closed_form_without_variance(mlp, xy, noise):
    spec = MeanField(noise=noise, init_std=(0.1, 0.3))
    with problem(mlp, xy, Core(r=2), spec, latent_prior=Normal(scale=0.5)) as p:
        batch = one_batch(p, 8)
        kl, prior, _ = p.prior_terms()
        differences = []
        for seed in range(5):
            losses = []
            for weight in (1.0, 0.0):
                pyro.set_rng_seed(seed)
                losses.append(float(p.loss(batch, weight)[0].detach()))
            differences.append(losses[0] - losses[1])
        assert prior == 0
        assert differences == pytest.approx([kl / len(p.examples)] * 5, rel=1e-4)


def test_prior_part_scales_with_one_over_n(mlp, xy):
    x, y = xy
    parts = []
    for repeats in (1, 2):
        data = (x.repeat(repeats, 1), y.repeat(repeats))
        with problem(mlp, data, Core(r=2), MeanField(noise="batch"), point_prior=Normal(scale=1.0)) as p:
            pyro.set_rng_seed(0)
            with_prior = float(p.loss(one_batch(p, 8), 1.0)[0].detach())
            pyro.set_rng_seed(0)
            parts.append(with_prior - float(p.loss(one_batch(p, 8), 0.0)[0].detach()))
    assert parts[0] == pytest.approx(2 * parts[1], rel=1e-4)


def test_loss_of_a_point_is_mean_nll_plus_minus_log_prior_over_n(mlp, xy):
    with problem(mlp, xy, Lora(r=2), Point(), latent_prior=Normal(scale=0.5), point_prior=Normal(scale=0.3)) as p:
        batch = one_batch(p, 60)
        loss, nll = p.loss(batch, 1.0)
        # B starts at 0, so the network is the base.
        p.attachment.bind({})
        expected = torch.nn.functional.cross_entropy(mlp(batch.inputs), batch.labels)
        assert float(nll) == pytest.approx(float(expected.detach()), rel=1e-5)
        mean = p.joint_guide.mean()
        log_prior = sum(
            torch.distributions.Normal(0, 0.5 if name.startswith("A") else 0.3).log_prob(value.detach()).sum()
            for name, value in mean.items()
        )
        assert float(loss.detach()) == pytest.approx(float(nll - log_prior / 60), rel=1e-5)


def test_flat_prior_costs_exactly_nothing(mlp, xy):
    with problem(mlp, xy, Lora(r=2), Point(), latent_prior=Flat()) as p:
        loss, nll = p.loss(one_batch(p, 60), 1.0)
        assert float(loss.detach()) == pytest.approx(float(nll), abs=1e-6)
        assert p.prior_terms() == (0, 0, None)


def test_flat_prior_under_a_random_guide_is_an_error(mlp, xy):
    with (
        pytest.raises(GuideError, match=r"proper prior on 'C_2x2'.*latent_prior"),
        problem(mlp, xy, Core(r=2), MeanField(), latent_prior=Flat()),
    ):
        pass


def test_pyro_sees_one_site_per_shape(mlp, xy):
    with problem(mlp, xy, Core(r=2), MeanField(noise="batch")) as p:
        trace = pyro.poutine.trace(p.pyro_guide).get_trace(one_batch(p, 4), 1.0, 4)
        sampled = {name for name, node in trace.nodes.items() if node["type"] == "sample"}
        assert {name for name in sampled if name.startswith("C")} == {"C_2x2"}
        assert trace.nodes["C_2x2"]["value"].shape == (3, 2, 2)


def test_training_leaves_the_network_and_the_random_state_as_they_were(mlp, xy):
    mlp.train()
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with problem(mlp, xy, Core(r=2), MeanField(), train=TrainConfig(steps=3)) as p:
        run(p)
    assert torch.equal(torch.rand(3), expected)
    assert mlp.training
    assert all(parameter.requires_grad for parameter in mlp.parameters())
    assert list(mlp.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in mlp.state_dict().items())
    assert not any(module._forward_hooks for module in mlp.modules())


@pytest.mark.parametrize("accumulate", [1, 3])
def test_reported_loss_is_mean_nll_plus_prior_terms_over_n(mlp, xy, accumulate):
    x, y = xy
    train = TrainConfig(epochs=3, batch_size=11, accumulate=accumulate, lr=1e-2, kl_weight=0.7)
    with problem(mlp, (x[:57], y[:57]), Core(r=2), MeanField(), train=train) as p:
        for record in run(p).records:
            assert record.loss - record.nll == pytest.approx(0.7 * (record.kl + record.prior) / 57, rel=2e-2)


@pytest.mark.parametrize("scale", [0.01, 3.0])
def test_reported_loss_of_points_holds_no_normalising_constant(mlp, xy, scale):
    """A narrow normal density is far above 1: the objective would be below the NLL by it. What is left is a ridge."""
    train = TrainConfig(epochs=2, batch_size=20, lr=1e-2)
    with problem(mlp, xy, Core(r=2), MeanField(), train=train, point_prior=Normal(scale=scale)) as p:
        record = run(p).records[-1]
        ridge = sum(
            float((p.joint_guide.q()[stack.name].mean - stack.center).detach().square().sum()) / (2 * scale**2)
            for stack in p.joint_guide.sampled
            if stack.name not in p.joint_guide.random and stack.name not in p.joint_guide.improper
        )
        assert record.prior == pytest.approx(ridge, rel=1e-3, abs=1e-2)
        assert record.loss > record.nll


def test_reported_nll_of_an_epoch_is_the_mean_over_examples():
    """At a rate of zero every step sees one network, whose mean NLL over the data is known."""
    x, y = torch.randn(23, 3, generator=torch.Generator().manual_seed(0)), torch.arange(23) % 2
    network = nn.Sequential(nn.Linear(3, 2))
    train = TrainConfig(steps=3, batch_size=10, lr=1e-30, head_lr=1e-30)
    with problem(network, (x, y), Lora(r=1), Point(), train=train) as p:
        records = run(p).records
        p.attachment.bind({})
        expected = torch.nn.functional.cross_entropy(network(x), y).detach()
    assert sum(r.nll * n for r, n in zip(records, sizes_of(p), strict=True)) / 23 == pytest.approx(
        float(expected), rel=1e-5
    )


def sizes_of(p: Problem) -> list[int]:
    return [len(batch) for batch in islice(_endless(p.examples, 10, torch.Generator().manual_seed(p.seed)), 3)]


def test_a_row_whose_output_is_no_number_is_named(mlp, xy):
    x, y = xy
    x[7, 0] = 1e31
    mlp.register_forward_hook(lambda _, given, logits: torch.where(given[0][:, :1] > 1e30, math.nan, logits))
    with problem(mlp, (x, y), Core(r=2), MeanField()) as p:
        p.loss(one_batch(p, 7), 1.0)
        with pytest.raises(FitError, match=r"^the network's output for training row 7 is not a number: .*'float32'\.$"):
            p.loss(one_batch(p, 20), 1.0)
