"""DoRA and VeRA beside peft's: outputs, merged weights and gradients are equal, number by number."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayespeft.adapters import Adapter, Dora, Vera
from bayespeft.adapters.attach import Attachment, Placement
from bayespeft.layers.layer import all_layers
from bayespeft.layers.weights import Shared
from tests.references.agreement import agree

peft = pytest.importorskip("peft", reason="the adapters that these are compared with are peft's")
PEFT = f"peft {peft.__version__}"


class Net(nn.Module):
    """Two layers of one shape: peft's VeRA cuts its projections out of the largest layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(torch.tanh(self.first(x)))
        return found


@pytest.fixture
def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def ours(net: Net, adapter: Adapter, values: Mapping[str, Mapping[str, Tensor]], x: Tensor) -> Tensor:
    """The output of the network with these factors, layer by layer."""
    layers = all_layers(net)
    with Attachment([Placement(layers[name], adapter) for name in values]) as attachment:
        attachment.bind({name: {k: Shared(v) for k, v in factors.items()} for name, factors in values.items()})
        found: Tensor = net(x)
    return found


def moved(module: Any, names: Mapping[str, str], generator: torch.Generator) -> dict[str, Tensor]:
    """Move peft's parameters at random, and return leaves with the same values by our names."""
    found = {}
    for name, theirs in names.items():
        parameter = module.get_parameter(theirs)
        with torch.no_grad():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        found[name] = parameter.detach().clone().requires_grad_()
    return found


def twins(net: Net, config: Any) -> tuple[Net, Any, dict[str, Any]]:
    """A copy of the network, peft's model around it, and peft's layers by name."""
    own, theirs = copy.deepcopy(net), peft.get_peft_model(net, config)
    return own, theirs, {name: getattr(theirs.base_model.model, name) for name in ("first", "second")}


def check_merged(theirs: Any, own: Net, adapter: Adapter, values: Mapping[str, Mapping[str, Tensor]]) -> None:
    """peft's merged weights are ours."""
    merged = theirs.merge_and_unload()
    for name, layer in all_layers(own).items():
        change = adapter.delta({k: v.detach() for k, v in values[name].items()}, layer)
        weight = getattr(merged, name).weight.detach()
        agree(f"{type(adapter).__name__}: merged weights", PEFT, layer.weight() + change, weight, atol=1e-5)


DORA = {
    "A": "lora_A.default.weight",
    "B": "lora_B.default.weight",
    "g": "lora_magnitude_vector.default.weight",
}
VERA = {"d": "vera_lambda_d.default", "b": "vera_lambda_b.default"}


@pytest.mark.parametrize("constant", [True, False], ids=["constant norm", "norm differentiated"])
def test_dora(net, constant):
    config = peft.LoraConfig(r=2, lora_alpha=3, use_dora=True, target_modules=["first", "second"])
    own, theirs, layers = twins(net, config)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(7, 4, 6, generator=generator)
    adapter = Dora(r=2, alpha=3, constant_norm=constant)
    for name, layer in all_layers(own).items():
        start = adapter.factors(layer, generator)["g"].init
        torch.testing.assert_close(layers[name].get_parameter(DORA["g"]).detach(), start)
    values = {name: moved(layer, DORA, generator) for name, layer in layers.items()}
    out, expected = ours(own, adapter, values, x), theirs(x)
    agree(f"{type(adapter).__name__}: outputs", PEFT, out.detach(), expected.detach(), atol=1e-5)
    out.sin().sum().backward()
    expected.sin().sum().backward()
    for name, factors in values.items():
        for factor, value in factors.items():
            gradient = layers[name].get_parameter(DORA[factor]).grad
            # peft takes the norm as a constant; the last layer's magnitude does not know the difference.
            if constant or (name, factor) == ("second", "g"):
                agree("Dora: gradients", PEFT, value.grad, gradient, atol=2e-4)
            elif factor != "g":
                assert not torch.allclose(value.grad, gradient, atol=1e-3)
    check_merged(theirs, own, adapter, values)


def test_vera(net):
    own, theirs, layers = twins(net, peft.VeraConfig(r=5, target_modules=["first", "second"], d_initial=0.1))
    adapter, generator = Vera(r=5, d_initial=0.1), torch.Generator().manual_seed(1)
    x = torch.randn(7, 6, generator=generator)
    a, b = (layers["first"].vera_A["default"], layers["first"].vera_B["default"])
    values: dict[str, dict[str, Tensor]] = {}
    for name, layer in all_layers(own).items():
        factors = adapter.factors(layer, generator)
        for factor, theirs_name in VERA.items():
            assert torch.equal(layers[name].get_parameter(theirs_name).detach(), factors[factor].init)
        largest = [float(p.abs().max()) for p in (factors["A"].init, factors["B"].init, a, b)]
        assert largest[:2] == pytest.approx(largest[2:], rel=0.15)
        values[name] = {"A": a.clone(), "B": b.clone(), **moved(layers[name], VERA, generator)}
    out, expected = ours(own, adapter, values, x), theirs(x)
    agree(f"{type(adapter).__name__}: outputs", PEFT, out.detach(), expected.detach(), atol=1e-5)
    out.sin().sum().backward()
    expected.sin().sum().backward()
    for name, layer in layers.items():
        for factor, theirs_name in VERA.items():
            agree("Vera: gradients", PEFT, values[name][factor].grad, layer.get_parameter(theirs_name).grad, atol=1e-5)
    check_merged(theirs, own, adapter, values)


def test_layers_of_one_width_share_their_projections(net):
    adapter = Vera(r=3)
    first, second = (adapter.factors(layer, torch.Generator()) for layer in all_layers(net).values())
    assert torch.equal(first["A"].init, second["A"].init)
    assert not torch.equal(
        first["A"].init, Vera(r=3, seed=1).factors(all_layers(net)["first"], torch.Generator())["A"].init
    )
