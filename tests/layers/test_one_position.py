"""A module is seen, changed elsewhere, or run at one position, for as long as that is asked for and no longer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bayespeft.layers.one_position import FIRST, LAST, changed_elsewhere, cut, noted, of_tokens


class Block(nn.Module):
    """Maps tokens (n, T, d), and gives None and a number beside them."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 3)

    def forward(self, x, scale=1.0):
        return None, scale * self.map(x), torch.ones(1)


@pytest.fixture
def x():
    return torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("position", [FIRST, LAST])
def test_a_layer_is_run_at_the_position_until_that_ends(x, position):
    layer = nn.Linear(3, 3)
    whole = layer(x)
    end = cut(layer, position)
    assert layer(x).shape == (2, 1, 3)
    torch.testing.assert_close(layer(x)[:, 0], whole[:, position])
    end()
    assert torch.equal(layer(x), whole)


@pytest.mark.parametrize("position", [FIRST, LAST])
def test_all_other_positions_are_changed(x, position):
    block = Block()
    plain = of_tokens(block(x))
    with torch.no_grad(), changed_elsewhere(block, position):
        nothing, found, one = block(x)
    same = (found == plain).all(-1)
    assert same[:, position].all()
    assert int(same.sum()) == 2
    assert nothing is None
    assert torch.equal(one, torch.ones(1))
    assert torch.equal(of_tokens(block(x)), plain)


def test_calls_are_noted_inside_the_block_alone(x):
    block = Block()
    with noted(block) as calls:
        given = block(x, scale=2.0)
    block(x)
    [(args, kwargs, output)] = calls
    assert args[0] is x
    assert kwargs == {"scale": 2.0}
    assert output is given
