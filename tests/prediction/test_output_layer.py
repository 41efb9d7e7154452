"""The last layer of a network is told by the graph of its outputs, whatever values they have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bayespeft.layers.layer import as_layer
from bayespeft.layers.once import Once
from bayespeft.prediction.output_layer import calls, output_layer, unless_identity

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


def adapted(outputs: int, change, **linear):
    """Return the last layer of a layer (outputs, 2) and s B u with r = 1, as `change` puts them together, and all parts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = as_layer("last", nn.Linear(2, outputs, **linear).requires_grad_(False))
    assert layer is not None
    value = torch.randn(outputs, 1, generator=torch.Generator().manual_seed(2))
    factor = Once("B", value, torch.zeros(ROWS, outputs, requires_grad=True), ROWS)
    x = torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with calls({"B": layer}) as called:
        y = layer.module(x)
    u = x.sum(-1, keepdim=True) * 3
    logits = change(y, factor.linear(u), x)
    return output_layer(logits, {"B": factor}, called), x, u, layer, logits


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("change", [lambda y, b, x: y + b, lambda y, b, x: (y + b).reshape(ROWS, -1).double()])
def test_an_adapted_last_layer_meets_its_input_and_the_channels(change, bias):
    last, x, u, layer, logits = adapted(5, change, bias=bias)
    assert last is not None
    assert last.names == {"B"}
    assert torch.equal(last.features, torch.cat([x, u], 1))
    moved = last.features @ last.weight.T + (layer.module.bias if bias else 0)
    torch.testing.assert_close(moved, logits.float(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda y, b, x: torch.add(y, b, alpha=2),
        lambda y, b, x: y * 1 + b,
        lambda y, b, x: y + b * 1,
        lambda y, b, x: y + b + 0 * x.sum(),
        lambda y, b, x: torch.tanh(y + b),
        lambda y, b, x: b + b,
        lambda y, b, x: y,
    ],
)
def test_an_adapted_layer_whose_sum_is_not_the_output_is_no_last_layer(change):
    assert adapted(5, change)[0] is None


def test_an_adapted_last_layer_of_no_more_outputs_than_it_meets_is_passed_over():
    assert adapted(3, lambda y, b, x: y + b)[0] is None


def test_a_layer_that_is_called_twice_or_on_tokens_has_no_one_input():
    layer = as_layer("last", nn.Linear(2, 5))
    assert layer is not None
    with calls({"B": layer}) as called:
        layer.module(torch.ones(ROWS, 2))
        assert called["B"].x is not None
        layer.module(torch.ones(ROWS, 2))
        assert called["B"].x is called["B"].y is None
    with calls({"B": layer}) as called:
        layer.module(torch.ones(ROWS, 3, 2))
        assert called["B"].x is None
    assert not layer.module._forward_hooks


def test_the_identity_is_told_from_what_is_none():
    identity = torch.eye(3).expand(ROWS, 3, 3)
    assert unless_identity(identity) is None
    for other in (identity * 2, identity[:, :2], torch.cat([identity[:3], identity[:1].flip(-1)])):
        assert unless_identity(other) is other
