"""Priors whose scale is learned: their KL is the minimum over scales, and so is its gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import kl_divergence

from bayespeft.adapters.core import Core
from bayespeft.errors import GuideError
from bayespeft.gaussians import Diagonal, Full
from bayespeft.guides.mean_field import MeanField
from bayespeft.priors.ard import Ard
from bayespeft.priors.empirical_bayes import EmpiricalBayes
from bayespeft.priors.normal import Normal
from bayespeft.priors.randomised import Randomised
from tests.training.helpers import problem

SHAPE = (3, 2, 4)


def a_q(seed: int, families: str = "diagonal"):
    generator = torch.Generator().manual_seed(seed)
    loc = torch.randn(SHAPE, generator=generator, dtype=torch.double, requires_grad=True)
    if families == "diagonal":
        std = (0.1 + torch.rand(SHAPE, generator=generator, dtype=torch.double)).requires_grad_()
        return Diagonal(loc, std), (loc, std)
    raw = torch.randn(3, 8, 8, generator=generator, dtype=torch.double).tril(-1)
    tril = (raw + torch.diag_embed(0.3 + torch.rand(3, 8, generator=generator, dtype=torch.double))).requires_grad_()
    return Full(loc, tril), (loc, tril)


CENTER = torch.full(SHAPE, 0.5, dtype=torch.double)


@given(st.integers(0, 10**6), st.sampled_from(["diagonal", "full"]))
def test_the_scale_of_a_layer_minimises_its_kl(seed, families):
    q, parameters = a_q(seed, families)
    for parameter in parameters:
        parameter.requires_grad_(False)
    prior = EmpiricalBayes(strength=1e-9)
    best = kl_divergence(q, prior.fitted(CENTER, q))
    scales = prior.learned(CENTER, q)
    torch.testing.assert_close(scales, (q.variance + (q.mean - CENTER) ** 2).flatten(1).mean(1).sqrt())
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert float(kl_divergence(q, Normal(scale=1.0).distribution(CENTER))) >= float(best)
        wider = torch.distributions.Normal(CENTER, (factor * scales)[:, None, None].expand(SHAPE))
        assert float(kl_divergence(q, torch.distributions.Independent(wider, 3))) > float(best)


@given(st.integers(0, 10**6))
def test_ard_leaves_a_kl_of_signal_to_noise_alone(seed):
    q, (loc, std) = a_q(seed)
    closed = 0.5 * torch.log1p((loc - CENTER) ** 2 / std**2).sum()
    found = kl_divergence(q, Ard().fitted(CENTER, q))
    torch.testing.assert_close(found, closed)
    for a, b in zip(torch.autograd.grad(found, [loc, std]), torch.autograd.grad(closed, [loc, std]), strict=True):
        torch.testing.assert_close(a, b)


@given(st.integers(0, 10**6), st.sampled_from([1e-9, 10.0]))
def test_the_gradient_with_a_constant_scale_is_that_of_the_least_kl_and_hyper_prior(seed, strength):
    q, parameters = a_q(seed)
    prior = EmpiricalBayes(scale=0.4, strength=strength)
    found = torch.autograd.grad(kl_divergence(q, prior.fitted(CENTER, q)), parameters)
    # The minimum over sp of KL + strength (ln sp + scale^2 / (2 sp^2)), up to a constant.
    moment = (q.variance + (q.mean - CENTER) ** 2).flatten(1).sum(1)
    profile = 0.5 * (8 + strength) * (strength * 0.4**2 + moment).log().sum() - parameters[1].log().sum()
    for a, b in zip(found, torch.autograd.grad(profile, parameters), strict=True):
        torch.testing.assert_close(a, b)


def test_the_scale_minimises_kl_and_hyper_prior():
    q, _ = a_q(0)
    prior = EmpiricalBayes(scale=0.4, strength=10.0)
    best = prior.learned(CENTER, q)

    def objective(scales):
        kl = q.kl_by_layer(CENTER, scales[:, None, None].expand(SHAPE))
        return kl + 10.0 * (scales.log() + 0.4**2 / (2 * scales**2))

    with torch.no_grad():
        for factor in (0.9, 0.99, 1.01, 1.1):
            assert (objective(factor * best) > objective(best)).all()


def test_a_strong_hyper_prior_is_a_fixed_prior():
    q, _ = a_q(0)
    fixed = kl_divergence(q, Normal(scale=0.7).distribution(CENTER))
    strong = kl_divergence(q, EmpiricalBayes(scale=0.7, strength=1e9).fitted(CENTER, q))
    torch.testing.assert_close(strong, fixed, rtol=1e-5, atol=1e-5)


def test_rescaling_changes_nothing_for_ard():
    q, (loc, std) = a_q(1)
    zero = torch.zeros(SHAPE, dtype=torch.double)
    scaled = Diagonal(5 * loc, 5 * std)
    torch.testing.assert_close(
        kl_divergence(q, Ard().fitted(zero, q)), kl_divergence(scaled, Ard().fitted(zero, scaled))
    )


def test_a_randomised_scale_is_a_fixed_one_in_expectation():
    """E[KL] differs from the KL under sd sqrt(sp (sp + c)) by the same constant for every q."""
    prior, fixed = Randomised(scale=0.2, width=1.0), Normal(scale=(0.2 * 1.2) ** 0.5)
    draws = 4000
    differences = []
    for seed in (0, 1):
        q, _ = a_q(seed)
        with torch.random.fork_rng():
            torch.manual_seed(0)  # common random numbers
            kls = torch.stack([kl_divergence(q, prior.distribution(CENTER)) for _ in range(draws)]).detach()
        differences.append(kls - kl_divergence(q, fixed.distribution(CENTER)).detach())
    difference = differences[0] - differences[1]
    assert abs(float(difference.mean())) < 4 * float(difference.std()) / draws**0.5


@pytest.mark.parametrize("width", [1e-9, 0.3, 1.0, 50.0])
def test_the_reported_kl_of_a_randomised_scale_is_the_expectation_over_its_draws(width):
    prior, (q, _) = Randomised(scale=0.2, width=width), a_q(2)
    law, constant = prior.reported(CENTER, q)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        kls = torch.stack([kl_divergence(q, prior.distribution(CENTER)) for _ in range(4000)])
        reported = float(kl_divergence(q, law)) + constant * CENTER.numel()
    # A scale is drawn in float32.
    assert abs(reported - float(kls.mean())) < 4 * float(kls.std()) / 4000**0.5 + 1e-4


def test_a_randomised_scale_of_no_width_is_a_fixed_one():
    q, _ = a_q(3)
    law, constant = Randomised(scale=0.2, width=0.0).reported(CENTER, q)
    assert constant == 0
    torch.testing.assert_close(kl_divergence(q, law), kl_divergence(q, Normal(scale=0.2).distribution(CENTER)))


def test_a_point_under_ard_is_refused(mlp, xy):
    with (
        pytest.raises(GuideError, match="its scale would collapse"),
        problem(mlp, xy, Core(r=2), MeanField(), point_prior=Ard()),
    ):
        pass
