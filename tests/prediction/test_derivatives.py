"""Derivatives of several outputs by one backward pass are those of one output by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bayespeft.prediction.derivatives import derivatives

ROWS, OUTPUTS = 3, 150


def outputs(leaves: dict[str, Tensor]) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    inner, outer = (torch.randn(n, m, generator=generator) for n, m in ((8, 5), (OUTPUTS, 8)))
    hidden = torch.tanh((inner @ leaves["a"].unsqueeze(-1)).squeeze(-1))
    return hidden @ outer.T


@pytest.fixture
def leaves() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(ROWS, 5, generator=generator).requires_grad_() for name in ("a", "unused")}


@pytest.mark.parametrize("used", [None, [k % 3 == 0 for k in range(OUTPUTS)]], ids=["all", "some"])
def test_several_outputs_at_once_have_the_derivatives_of_each(leaves, used):
    one = derivatives(outputs(leaves), leaves, used, True)
    many = derivatives(outputs(leaves), leaves, used, True, at_once=64)
    assert one["a"].shape == (ROWS, OUTPUTS, 5)
    for name, expected in one.items():
        torch.testing.assert_close(many[name], expected)
    assert one["a"][:, 1].any() == (used is None)
    assert not many["unused"].any()


def test_the_graph_is_kept_where_more_outputs_follow(leaves):
    logits = outputs(leaves)
    first = derivatives(logits, leaves, None, False, at_once=64)
    torch.testing.assert_close(derivatives(logits, leaves, None, True)["a"], first["a"])


class Alone(torch.autograd.Function):
    """The identity, whose derivative looks at its values, as no pass of several outputs lets it."""

    passes = 0

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        if float(gradient.sum()) > -1e9:
            Alone.passes += 1
        return gradient


def test_a_network_that_knows_of_one_pass_at_a_time_gets_one_at_a_time(leaves):
    expected = derivatives(outputs(leaves), leaves, None, True)
    found = derivatives(Alone.apply(outputs(leaves)), leaves, None, True, at_once=64)
    assert Alone.passes == OUTPUTS
    torch.testing.assert_close(found["a"], expected["a"])
