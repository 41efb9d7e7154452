"""Diagonal covariances against independent normals of torch."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal

from bayespeft.errors import GuideError
from bayespeft.gaussians import Diagonal


def test_it_is_independent_normals_and_a_draw_is_the_mean_and_so_many_deviations():
    generator = torch.Generator().manual_seed(0)
    loc, std, x = (torch.randn(2, 3, 4, generator=generator, dtype=torch.double) for _ in range(3))
    q = Diagonal(loc, std.exp())
    same = Independent(Normal(loc, std.exp()), 3)
    torch.testing.assert_close(q.log_prob(x), same.log_prob(x))
    noise = torch.randn(5, 2, 12, generator=generator, dtype=torch.double)
    torch.testing.assert_close(q.sqrt_matvec(noise), noise.reshape(5, 2, 3, 4) * std.exp())


def test_a_standard_deviation_of_another_shape_is_refused():
    with pytest.raises(GuideError, match=r"std has shape \(4,\).*\(2, 3, 4\)"):
        Diagonal(torch.zeros(2, 3, 4), torch.ones(4))
    with pytest.raises(ValueError, match="std"):
        Diagonal(torch.zeros(2, 3), torch.zeros(2, 3))
