"""Functions of several factors at once: of the values that each row meets, in their own precision."""

from __future__ import annotations

import pytest
import torch

from bayespeft.adapters.combined import combined
from bayespeft.errors import GuideError
from bayespeft.layers.weights import Flipped, Grouped, Shared, random_signs


def product(values):
    """A function that is not linear in its values together: (out, in)."""
    return torch.outer(values["a"].exp(), values["b"]) + values["w"] @ values["w"].mT @ values["w"]


def test_a_function_of_several_weights_is_that_of_each_group():
    generator = torch.Generator().manual_seed(0)
    a, b, w = (torch.randn(3, *shape, generator=generator) for shape in ((4,), (5,), (4, 5)))
    shared = combined(product, {"a": Shared(a[0]), "b": Shared(b[0]), "w": Shared(w[0])})
    torch.testing.assert_close(shared.value, product({"a": a[0], "b": b[0], "w": w[0]}))
    grouped = combined(product, {"a": Grouped(a, rows=6), "b": Shared(b[0]), "w": Grouped(w, rows=6)})
    assert isinstance(grouped, Grouped)
    assert grouped.rows == 6
    for i in range(3):
        torch.testing.assert_close(grouped.value[i], product({"a": a[i], "b": b[0], "w": w[i]}))


def test_a_vector_with_signs_is_a_value_for_each_example_and_a_matrix_is_none():
    generator = torch.Generator().manual_seed(0)
    mean, deviation = torch.randn(2, 4, generator=generator)
    signs = random_signs((3, 4), mean)
    rest = {"b": Shared(torch.randn(5, generator=generator)), "w": Shared(torch.randn(4, 5, generator=generator))}
    found = combined(product, {"a": Flipped(mean, deviation, None, signs), **rest})
    for i in range(3):
        values = {"a": mean + deviation * signs[i], **{name: weight.value for name, weight in rest.items()}}
        torch.testing.assert_close(found.value[i], product(values))
    matrix = torch.zeros(4, 5)
    flipped = Flipped(matrix, matrix, random_signs((3, 4), matrix), random_signs((3, 5), matrix))
    with pytest.raises(GuideError, match="noise='example' or noise='batch'"):
        combined(product, {"a": Shared(mean), "b": rest["b"], "w": flipped})


def test_a_function_of_weights_runs_in_their_precision_whatever_autocast_says():
    weights = {"a": Shared(torch.zeros(4)), "b": Shared(torch.ones(5)), "w": Grouped(torch.full((2, 4, 5), 1.001))}
    exact = combined(product, weights).value
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(combined(product, weights).value, exact)
