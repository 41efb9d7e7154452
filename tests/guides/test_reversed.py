"""The reversed KL is the one of ScalaBL's code, in numbers and in the objective."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from bayespeft.gaussians import Diagonal
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.mean_field_reversed import MeanFieldReversed, ReversedDiagonal
from bayespeft.layers.factors import StackedFactor
from bayespeft.priors.normal import Normal as NormalPrior
from tests.references.agreement import agree
from tests.training.helpers import Direct, problem


def test_one_narrow_posterior_in_both_directions():
    loc, std = torch.full((1, 1), 0.8, dtype=torch.float64), torch.full((1, 1), 0.03, dtype=torch.float64)
    prior = Independent(Normal(torch.zeros_like(loc), torch.ones_like(loc)), 2)
    still = torch.zeros_like(loc)
    assert float(kl_divergence(ReversedDiagonal(loc, std, still), prior)) == pytest.approx(907.1, abs=0.05)
    assert float(kl_divergence(Diagonal(loc, std), prior)) == pytest.approx(3.33, abs=0.005)


def test_it_is_the_kl_of_the_prior_to_q():
    generator = torch.Generator().manual_seed(0)
    loc, center = torch.randn(2, 3, 2, 4, generator=generator)
    std, scale, moved = torch.rand(3, 3, 2, 4, generator=generator) + 0.1
    found = kl_divergence(ReversedDiagonal(loc, std, moved), Independent(Normal(center, scale), 3))
    exact = kl_divergence(Normal(center + moved, scale + moved), Normal(loc, std)).sum()
    torch.testing.assert_close(found, exact)


def test_the_prior_is_the_one_that_the_official_code_executes():
    """2952.47 nats: kl_div of ScalaBLLinear(20, 8) of SRI-CSL/BayesAdapt (3843000) at these values.

    To N(0, 1), the prior that the paper states, it is 2858.13.
    """
    z, std = torch.linspace(0.4, 0.7, 8), torch.linspace(0.036, 0.05, 8)
    stack = StackedFactor("z", "z", ("a",), "latent", z[None], NormalPrior(scale=1.0), torch.zeros(1, 8))
    guide = MeanFieldReversed(init_std=(0.036, 0.05)).build([stack], torch.Generator().manual_seed(0))
    torch.testing.assert_close(guide.get_buffer("moved_z"), guide.std()["z"].detach())
    with torch.no_grad():
        guide.raw["z"].copy_(std.log()[None])
        guide.get_buffer("moved_z").copy_(std[None])
    prior = NormalPrior(scale=1.0).distribution(torch.zeros(1, 8))
    found = kl_divergence(guide.q()["z"], prior).detach()
    agree("ScalaBL: KL", "SRI-CSL/BayesAdapt 3843000", found, 2952.47, atol=0.05)


def test_draws_are_those_of_mean_field():
    init = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    stack = StackedFactor("C", "C", ("a", "b", "c"), "latent", init, NormalPrior(scale=1.0), torch.zeros(3, 2))
    guides = [spec.build([stack], torch.Generator().manual_seed(0)) for spec in (MeanField(), MeanFieldReversed())]
    first, second = (guide.draws(4, torch.Generator().manual_seed(1))["C"] for guide in guides)
    assert torch.equal(first, second)


def test_the_objective_holds_the_reversed_kl_and_the_right_one_is_reported(mlp, xy):
    terms = {}
    for spec in (MeanField(init_std=(0.1, 0.1)), MeanFieldReversed(init_std=(0.1, 0.1))):
        with problem(mlp, xy, Direct(), spec) as p:
            batch = next(iter(p.examples.batches(60)))
            with torch.no_grad():
                loss, nll = p.loss(batch, 1.0)
            terms[spec.kind] = (float((loss - nll) * 60), p.prior_terms()[0])
    ratio = torch.tensor(0.1)
    numbers = 5 * 12 + 12 * 12 + 12 * 3
    forward = numbers * float(-ratio.log() + (ratio**2 - 1) / 2)
    executed = kl_divergence(Normal(ratio, 1 + ratio), Normal(torch.zeros(()), ratio))
    backward = numbers * float(executed)
    assert terms["mean_field"] == pytest.approx((forward, forward), rel=1e-4)
    assert terms["mean_field_reversed"] == pytest.approx((backward, forward), rel=1e-4)
