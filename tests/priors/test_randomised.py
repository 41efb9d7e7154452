"""A prior whose scale is random."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import kl_divergence

from bayespeft.priors.normal import Normal
from bayespeft.priors.randomised import Randomised
from tests.priors.helpers import CENTER, a_q


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
