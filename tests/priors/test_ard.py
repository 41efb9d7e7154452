"""One scale for each layer, at its best."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import kl_divergence

from bayespeft.adapters.core import Core
from bayespeft.errors import GuideError
from bayespeft.gaussians import Diagonal
from bayespeft.guides.mean_field import MeanField
from bayespeft.priors.ard import Ard
from tests.priors.helpers import CENTER, SHAPE, a_q
from tests.training.helpers import problem


@given(st.integers(0, 10**6))
def test_ard_leaves_a_kl_of_signal_to_noise_alone(seed):
    q, (loc, std) = a_q(seed)
    closed = 0.5 * torch.log1p((loc - CENTER) ** 2 / std**2).sum()
    found = kl_divergence(q, Ard().fitted(CENTER, q))
    torch.testing.assert_close(found, closed)
    for a, b in zip(torch.autograd.grad(found, [loc, std]), torch.autograd.grad(closed, [loc, std]), strict=True):
        torch.testing.assert_close(a, b)


def test_rescaling_changes_nothing_for_ard():
    q, (loc, std) = a_q(1)
    zero = torch.zeros(SHAPE, dtype=torch.double)
    scaled = Diagonal(5 * loc, 5 * std)
    torch.testing.assert_close(
        kl_divergence(q, Ard().fitted(zero, q)), kl_divergence(scaled, Ard().fitted(zero, scaled))
    )


def test_a_point_under_ard_is_refused(mlp, xy):
    with (
        pytest.raises(GuideError, match="its scale would collapse"),
        problem(mlp, xy, Core(r=2), MeanField(), point_prior=Ard()),
    ):
        pass
