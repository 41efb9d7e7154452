"""No operation makes more than it may, and none that stays within is hindered."""

from __future__ import annotations

import pytest
import torch

from bayespeft.utils.bounded import Bounded, TooLarge


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(2, 10**12),
        lambda: torch.eye(10**6),
        lambda: torch.randn(11, 10, generator=torch.Generator()),
        lambda: torch.ones(10).repeat(11, 1),
        lambda: torch.ones(50, 1) @ torch.ones(1, 50),
        lambda: torch.ones(1).expand(10**9).clone(),
        lambda: torch.arange(101),
        lambda: torch.full((3, 40), 1.0),
        lambda: torch.ones(2).new_zeros(101),
    ],
)
def test_what_is_larger_is_refused(make):
    with pytest.raises(TooLarge, match="a tensor of"), Bounded(100):
        make()


def test_what_is_not_larger_is_as_ever():
    with Bounded(100):
        found = (torch.eye(10) @ torch.ones(10, 10)).repeat(1, 1).cumsum(0)
    assert torch.equal(found[-1], torch.full((10,), 10.0))
