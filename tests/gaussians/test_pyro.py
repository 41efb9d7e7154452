"""Stacked Gaussians under Pyro: plates, scales and masks, and never a Monte Carlo KL."""

from __future__ import annotations

from contextlib import nullcontext

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from torch.distributions import kl_divergence

from bayespeft.priors.normal import Normal
from tests.gaussians.families import FAMILIES, seeded

families = pytest.mark.parametrize("family", FAMILIES)


def losses(q, p, context, count: int) -> list[float]:
    def model():
        with context():
            pyro.sample("w", p)

    def guide():
        with context():
            pyro.sample("w", q)

    elbo = TraceMeanField_ELBO()
    with pyro.validation_enabled(True):
        return [float(elbo.differentiable_loss(model, guide).detach()) for _ in range(count)]


@families
@pytest.mark.parametrize("plated", [False, True])
def test_loss_without_data_is_the_closed_form_every_time(family, plated):
    q = FAMILIES[family]((3, 2, 2), seeded(0))
    p = Normal(scale=0.5).distribution(torch.zeros(3, 2, 2).double())
    found = losses(q, p, (lambda: pyro.plate("examples", 6, dim=-1)) if plated else nullcontext, 5)
    kl = float(kl_divergence(q, p)) * (6 if plated else 1)
    assert found == pytest.approx([kl] * 5, rel=1e-12)
    assert len(set(found)) == 1


@families
def test_scale_and_mask_weigh_the_closed_form(family):
    q = FAMILIES[family]((3, 2, 2), seeded(0))
    p = Normal(scale=0.5).distribution(torch.zeros(3, 2, 2).double())
    kl = float(kl_divergence(q, p))
    assert losses(q, p, lambda: poutine.scale(scale=0.25), 1) == pytest.approx([0.25 * kl], rel=1e-12)
    assert losses(q, p, lambda: poutine.mask(mask=False), 1) == [0.0]


@families
def test_each_example_has_its_own_draw(family):
    q = FAMILIES[family]((3, 2, 2), seeded(0))
    with pyro.plate("examples", 4, dim=-1):
        value = pyro.sample("w", q)
    assert value.shape == (4, 3, 2, 2)
    assert len(torch.unique(value[:, 0, 0, 0])) == 4
