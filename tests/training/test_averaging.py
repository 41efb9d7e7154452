"""The average over the path of a run, against its closed form."""

import math

import pytest
import torch
from torch import nn

from bayespeft.training.averaging import PathAverage


@pytest.mark.parametrize("power", [1, 3, 8])
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_weights_are_those_of_polynomial_decay(power, steps):
    parameter = nn.Parameter(torch.full((3,), 7.0, dtype=torch.double))
    iterates = torch.randn(steps, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    average = PathAverage([parameter], power)
    for step, value in enumerate(iterates, 1):
        parameter.data.copy_(value)
        average.update(step)
    # Shamir and Zhang's recursion with share (g + 1) / (t + g) gives iterate t the weight C(t + g - 1, g).
    weights = torch.tensor([math.comb(t + power - 1, power) for t in range(1, steps + 1)], dtype=torch.double)
    expected = (weights[:, None] * iterates).sum(0) / weights.sum()
    with average.applied():
        torch.testing.assert_close(parameter.detach(), expected)
    torch.testing.assert_close(parameter.detach(), iterates[-1])
    average.adopt()
    torch.testing.assert_close(parameter.detach(), expected)


def test_without_a_power_the_last_iterate_stays():
    parameter = nn.Parameter(torch.ones(2))
    average = PathAverage([parameter], 0.0)
    parameter.data.fill_(3.0)
    average.update(1)
    with average.applied():
        assert parameter.tolist() == [3.0, 3.0]
    average.adopt()
    assert parameter.tolist() == [3.0, 3.0]
    assert average.state() == []
