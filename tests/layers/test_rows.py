"""Rows by example, and back."""

from __future__ import annotations

import pytest
import torch

from bayespeft.layers.rows import as_it_was, by_example

SHAPES = {"first": lambda x: x, "grouped": lambda x: x.flatten(0, 1), "alternating": lambda x: x.transpose(0, 1)}


@pytest.mark.parametrize("order", SHAPES)
def test_by_example_and_back(order):
    x = torch.arange(5 * 6 * 4.0).reshape(5, 6, 4)
    shaped = SHAPES[order](x)
    found = by_example(shaped, order, 5)
    assert torch.equal(found, x)
    assert torch.equal(as_it_was(found, order, shaped.shape), shaped)
    assert by_example(shaped[:-1] if order == "first" else shaped.flatten(0, -2)[:-1], order, 5) is None
    assert by_example(shaped, "mixed", 5) is None
