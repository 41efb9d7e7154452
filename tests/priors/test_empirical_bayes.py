"""Priors whose scale is learned: their KL is the minimum over scales, and so is its gradient."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import kl_divergence

from bayespeft.priors.empirical_bayes import EmpiricalBayes
from bayespeft.priors.normal import Normal
from tests.priors.helpers import CENTER, SHAPE, a_q


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
