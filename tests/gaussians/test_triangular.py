"""Triangular matrices times and under vectors, layer by layer, whatever stands before the layers."""

from __future__ import annotations

import pytest
import torch

from bayespeft.gaussians.triangular import multiply, solve


@pytest.mark.parametrize("leading", [(), (5,), (5, 2), (0,)])
def test_products_and_solutions_are_those_of_each_layer(leading):
    generator = torch.Generator().manual_seed(0)
    lower = torch.randn(3, 4, 4, generator=generator, dtype=torch.double).tril(-1) + 2 * torch.eye(4).double()
    x = torch.randn(*leading, 3, 4, generator=generator, dtype=torch.double)
    expected = torch.stack([x[..., layer, :] @ lower[layer].mT for layer in range(3)], -2)
    torch.testing.assert_close(multiply(lower, x), expected)
    torch.testing.assert_close(solve(lower, expected), x)


def test_numbers_above_the_diagonal_are_not_read():
    lower = torch.tensor([[[2.0, float("nan")], [1.0, 1.0]]])
    assert solve(lower, torch.tensor([[2.0, 3.0]])).tolist() == [[1.0, 2.0]]
