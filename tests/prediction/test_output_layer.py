"""The last layer of a network is told by the graph of its outputs, whatever values they have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bayespeft.layers.once import Once
from bayespeft.prediction.output_layer import output_layer, unless_identity

ROWS, FEATURES, CLASSES = 4, 2, 3


def weights() -> dict[str, Once]:
    generator = torch.Generator().manual_seed(0)
    values = {"W": torch.randn(CLASSES, FEATURES, generator=generator), "b": torch.zeros(CLASSES)}
    return {n: Once(n, v, torch.zeros(ROWS, CLASSES, requires_grad=True), ROWS) for n, v in values.items()}


def outputs(bound: dict[str, Once], bias: bool = True) -> tuple[Tensor, Tensor]:
    x = torch.randn(ROWS, FEATURES, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = bound["W"].linear(x)
    return x, bound["b"].add(y) if bias else y


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shown", [lambda y: y, lambda y: y.float(), lambda y: y.reshape(ROWS, CLASSES), lambda y: y.double()]
)
def test_the_last_layer_is_found_behind_what_shows_the_same_numbers(bias, shown):
    bound = weights()
    x, y = outputs(bound, bias)
    last = output_layer(shown(y), bound)
    assert last is not None
    assert last.features is x
    assert torch.equal(last.weight, bound["W"].value)
    assert last.names == ({"W", "b"} if bias else {"W"})


@pytest.mark.parametrize(
    "changed",
    [
        lambda x, y: y + 0 * x.sum(),  # another way, though it adds nothing now
        lambda x, y: y * 1,
        lambda x, y: torch.log_softmax(y, -1),
        lambda x, y: y.flip(-1),
        lambda x, y: y.unsqueeze(1),
        lambda x, y: y.detach(),
    ],
)
def test_outputs_that_are_something_else_have_no_last_layer(changed):
    bound = weights()
    x, y = outputs(bound)
    assert output_layer(changed(x, y), bound) is None


def test_a_layer_of_as_many_features_as_outputs_is_passed_over():
    wide = {"W": Once("W", torch.eye(CLASSES), torch.zeros(ROWS, CLASSES, requires_grad=True), ROWS)}
    assert output_layer(wide["W"].linear(torch.ones(ROWS, CLASSES, requires_grad=True)), wide) is None
    assert output_layer(torch.ones(ROWS, CLASSES), weights()) is None, "nothing has met anything"


def test_the_identity_is_told_from_what_is_none():
    identity = torch.eye(3).expand(ROWS, 3, 3)
    assert unless_identity(identity) is None
    for other in (identity * 2, identity[:, :2], torch.cat([identity[:3], identity[:1].flip(-1)])):
        assert unless_identity(other) is other
