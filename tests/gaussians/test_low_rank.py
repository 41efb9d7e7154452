"""A diagonal and a factor of low rank."""

from __future__ import annotations

import torch

from bayespeft.gaussians import LowRank
from tests.gaussians.families import randn, seeded


def test_low_rank_density_survives_a_factor_much_larger_than_the_diagonal():
    generator = seeded(0)
    factor = 1e3 * randn(generator, 1, 6, 2)
    q = LowRank(torch.zeros(1, 6).double(), torch.full((1, 6), 1e-2).double(), factor)
    single = LowRank(q.loc.float(), q.std.float(), factor.float())
    value = q.sqrt_matvec(randn(generator, 1, q.width))
    torch.testing.assert_close(single.log_prob(value.float()).double(), q.log_prob(value), rtol=0.1, atol=0.1)
