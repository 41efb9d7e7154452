"""A diagonal and a factor of low rank."""

from __future__ import annotations

import pytest
import torch

from bayespeft.errors import GuideError
from bayespeft.gaussians import LowRank
from tests.gaussians.families import randn, seeded


def test_low_rank_density_survives_a_factor_much_larger_than_the_diagonal():
    generator = seeded(0)
    factor = 1e3 * randn(generator, 1, 6, 2)
    q = LowRank(torch.zeros(1, 6).double(), torch.full((1, 6), 1e-2).double(), factor)
    single = LowRank(q.loc.float(), q.std.float(), factor.float())
    value = q.sqrt_matvec(randn(generator, 1, q.width))
    torch.testing.assert_close(single.log_prob(value.float()).double(), q.log_prob(value), rtol=0.1, atol=0.1)


def test_a_factor_of_another_number_of_layers_is_refused():
    with pytest.raises(GuideError, match=r"factor.*\(2, 12, 5\)"):
        LowRank(torch.zeros(2, 3, 4), torch.ones(2, 3, 4), torch.zeros(1, 12, 5))
