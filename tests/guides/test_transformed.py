"""Guides that are a map of standard normals: their density, and the gradient of their KL."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor

from bayespeft.adapters import Core
from bayespeft.guides import MeanField, StackedFactor
from bayespeft.guides.transformed import Transformed
from bayespeft.priors import Normal
from tests.training.helpers import problem
from tests.variational.flows import Flow, Straight


def gradients(p: Any, seeds: int, loss: Any) -> Iterator[Tensor]:
    parameters = [q for q in p.joint_guide.latent.parameters() if q.requires_grad]
    for seed in range(seeds):
        pyro.set_rng_seed(seed)
        found = torch.autograd.grad(loss(p), parameters, allow_unused=True)
        yield torch.cat([g.flatten() for g in found if g is not None]).double()


@pytest.mark.parametrize("noise", ["batch", "example"])
@pytest.mark.parametrize("descent", ["together", "in turn"])
def test_the_gradient_of_a_monte_carlo_kl_is_that_of_the_formula_on_average(noise, descent, mlp, xy):
    """A normal whose class hides its formula, against the same normal with it; B = 0, so the data say nothing of C."""

    def kl_of(p: Any) -> Tensor:
        if descent == "in turn":
            return p.prior_loss(1.0)
        return p.loss(next(iter(p.examples.batches(8))), 1.0)[0]

    guides = (Flow(noise=noise), MeanField(noise=noise, init_std=(0.2, 0.2)))
    means, errors = [], []
    for guide in guides:
        with problem(mlp, xy, Core(r=2), guide, latent_prior=Normal(scale=0.5)) as p:
            found = torch.stack(list(gradients(p, 200 if guide is guides[0] else 1, kl_of)))
            means.append(found.mean(0))
            errors.append(found.std(0, correction=0) / math.sqrt(len(found)))
    assert (errors[0] > 0).all()
    assert ((means[0] - means[1]).abs() < 5 * errors[0] + 1e-7).all()
    assert (means[1].abs() > 3 * errors[0]).any(), "the formula's gradient is too small to be told from noise"


def test_the_flow_s_density_is_that_of_the_change_of_variables():
    stack = StackedFactor("C", "C", ("a", "b"), "latent", torch.randn(2, 3), Normal(scale=1.0), torch.zeros(2, 3))
    guide = Straight([stack], torch.Generator(), 0.3)
    q = guide.q()["C"]
    assert isinstance(q, Transformed)
    drawn = q.rsample((5,))
    expected = guide.inner.q()["C"]
    torch.testing.assert_close(q.log_prob(drawn), expected.log_prob(drawn))
    torch.testing.assert_close(q.log_prob_by_layer(drawn), expected.log_prob_by_layer(drawn))
    with pytest.raises(NotImplementedError, match="of its last draw only"):
        q.log_prob(drawn.clone())
