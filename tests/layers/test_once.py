"""A weight that meets one vector of each example gives what the plain weight gives, and refuses all else."""

from __future__ import annotations

import pytest
import torch

from bayespeft.layers.once import NotOnceError, Once
from bayespeft.layers.sparse import pattern_of
from bayespeft.layers.weights import Shared

ROWS = 4


def once(*shape: int) -> Once:
    value = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return Once("W", value, torch.zeros(ROWS, shape[0], requires_grad=True), ROWS)


def test_a_matrix_keeps_the_vectors_that_it_meets_and_gives_what_it_would():
    weight, x = once(3, 2), torch.randn(ROWS, 2)
    torch.testing.assert_close(weight.linear(x), Shared(weight.value).linear(x))
    assert torch.equal(weight.right, x)


def test_a_vector_meets_ones():
    weight, y = once(3), torch.randn(ROWS, 3)
    torch.testing.assert_close(weight.add(y), y + weight.value)
    assert torch.equal(weight.right, torch.ones(ROWS, 1))


def test_the_derivative_by_the_change_is_that_by_the_output():
    weight, x = once(3, 2), torch.randn(ROWS, 2)
    y = weight.linear(x)
    (found,) = torch.autograd.grad(y.square().sum(), weight.change)
    torch.testing.assert_close(found, 2 * y.detach())


def twice(weight: Once) -> None:
    weight.linear(torch.zeros(ROWS, 2))
    weight.linear(torch.zeros(ROWS, 2))


REFUSED = {
    "tokens": lambda: once(3, 2).linear(torch.zeros(ROWS, 5, 2)),
    "other rows": lambda: once(3, 2).linear(torch.zeros(2 * ROWS, 2)),
    "twice": lambda: twice(once(3, 2)),
    "a vector as a matrix": lambda: once(3).linear(torch.zeros(ROWS, 3)),
    "a matrix as a bias": lambda: once(3, 2).add(torch.zeros(ROWS, 3)),
    "a bias of tokens": lambda: once(3).add(torch.zeros(ROWS, 5, 3)),
    "a factor of elements": lambda: once(3).mul(torch.zeros(ROWS, 3)),
    "a function of the value": lambda: once(3, 2).values(),
    "a difference": lambda: once(3, 2).minus(Shared(torch.zeros(3, 2))),
    "non-zeros": lambda: once(3).sparse(torch.zeros(ROWS, 3), pattern_of(torch.tensor([0, 2, 5]), 2, 3)),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_outer_product_is_refused(call):
    with pytest.raises(NotOnceError, match="weight 'W' does not meet one vector of each example"):
        call()
