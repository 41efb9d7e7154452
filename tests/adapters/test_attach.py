"""Hooks act as dense weights would, and leave nothing behind."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from bayespeft.adapters.attach import Attachment, Placement, frozen, mode, recomputing
from bayespeft.adapters.core import Core
from bayespeft.adapters.full import Full
from bayespeft.adapters.lora import Lora
from bayespeft.config import Targets
from bayespeft.errors import AttachError
from bayespeft.layers.layer import all_layers
from bayespeft.layers.targets import find_layers
from bayespeft.layers.weights import Shared


def random_values(adapter, layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(factor.init.shape, generator=generator)
        for name, factor in adapter.factors(layer, generator).items()
    }


@pytest.mark.parametrize("adapter", [Lora(r=3), Core(r=3), Full()])
@pytest.mark.parametrize("network", ["gpt2", "llama"])
def test_hook_equals_dense_weight(network, adapter, request):
    """On nn.Linear and on GPT-2's transposed Conv1D alike."""
    model = request.getfixturevalue(network)
    layers = find_layers(model, Targets())
    ids = torch.randint(4, 60, (2, 5), generator=torch.Generator().manual_seed(0))
    values = {layer.name: random_values(adapter, layer) for layer in layers}
    with torch.no_grad(), Attachment([Placement(layer, adapter) for layer in layers]) as attachment:
        base = model(ids).logits
        attachment.bind({name: {k: Shared(v) for k, v in named.items()} for name, named in values.items()})
        adapted = model(ids).logits
    dense = copy.deepcopy(model)
    with torch.no_grad():
        for layer in layers:
            module = dense.get_submodule(layer.name)
            delta = adapter.delta(values[layer.name], layer)
            module.weight += delta.T if layer.kind == "conv1d" else delta
            if "b" in values[layer.name]:
                module.bias.copy_(values[layer.name]["b"])
        torch.testing.assert_close(adapted, dense(ids).logits, atol=2e-3, rtol=2e-3)
        assert (adapted - base).abs().max() > 0.01
        assert torch.equal(model(ids).logits, base)


def test_base_is_bit_equal_before_and_after(bert):
    before = copy.deepcopy(bert.state_dict())
    modules = [id(module) for module in bert.modules()]
    layer = all_layers(bert)["bert.encoder.layer.0.attention.self.query"]
    with Attachment([Placement(layer, Lora())]):
        assert list(bert.state_dict()) == list(before)
    assert [id(module) for module in bert.modules()] == modules
    assert all(torch.equal(value, before[name]) for name, value in bert.state_dict().items())
    assert not layer.module._forward_hooks


def test_a_network_with_a_bound_draw_can_be_copied_afterwards(mlp):
    layer = all_layers(mlp)["0"]
    live = {"A": Shared(torch.zeros(8, 5, requires_grad=True) * 1), "B": Shared(torch.zeros(12, 8))}
    with Attachment([Placement(layer, Lora())]) as attachment:
        attachment.bind({"0": live})
    copy.deepcopy(mlp)


def test_hooks_go_even_when_the_block_fails(mlp):
    layer = all_layers(mlp)["0"]
    with pytest.raises(RuntimeError, match="inside"), Attachment([Placement(layer, Lora())]):
        raise RuntimeError("inside")
    assert not mlp[0]._forward_hooks


def test_two_adapters_on_one_layer_are_an_error(mlp):
    layer = all_layers(mlp)["0"]
    with pytest.raises(AttachError, match="'0' would get two adapters"):
        Attachment([Placement(layer, Lora()), Placement(layer, Core())])


def test_keyword_input_is_seen(mlp):
    layer = all_layers(mlp)["0"]
    values = random_values(Lora(), layer)
    x = torch.randn(2, 5)
    with Attachment([Placement(layer, Lora())]) as attachment:
        attachment.bind({"0": {name: Shared(value) for name, value in values.items()}})
        torch.testing.assert_close(mlp[0](input=x), mlp[0](x))


def test_frozen_restores_each_switch(mlp):
    mlp[0].weight.requires_grad_(False)
    with frozen(mlp):
        assert not any(p.requires_grad for p in mlp.parameters())
    assert [p.requires_grad for p in mlp.parameters()] == [False, True, True, True, True, True]


def test_mode_restores_each_module_and_spares_batch_norm():
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2), nn.Linear(2, 2))
    model[2].eval()
    with mode(model, dropout=True):
        assert (model[0].training, model[1].training) == (True, False)
    with mode(model):
        assert not model[0].training
    assert [m.training for m in model] == [True, True, False]


def test_recomputing_gives_equal_gradients_and_is_undone(llama):
    ids = torch.randint(4, 60, (2, 5), generator=torch.Generator().manual_seed(0))
    gradients, calls = [], []
    count = llama.model.layers[0].self_attn.k_proj.register_forward_hook(lambda *_: calls.append(1))
    layer = all_layers(llama)["model.layers.0.self_attn.q_proj"]
    for wanted in (False, True):
        calls.clear()
        values = {name: value.requires_grad_() for name, value in random_values(Core(r=2), layer).items()}
        attached = Attachment([Placement(layer, Core(r=2))])
        with attached as attachment, mode(llama), frozen(llama), recomputing(llama, wanted):
            attachment.bind({layer.name: {name: Shared(value) for name, value in values.items()}})
            llama(ids).logits.square().mean().backward()
        gradients.append([value.grad for value in values.values()])
        assert len(calls) == 1 + wanted
    count.remove()
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)
    assert not any("forward" in vars(module) for module in llama.modules())


def test_recomputing_needs_blocks(mlp):
    with pytest.raises(AttachError, match="no list of repeated blocks"), recomputing(mlp[0]):
        pass


def test_mode_switches_the_cache_off_meanwhile(llama):
    with mode(llama):
        assert llama.config.use_cache is False
    assert llama.config.use_cache is True


def test_recomputing_keeps_a_blocks_own_forward(llama):
    block = llama.model.layers[0]
    own = block.forward
    block.forward = own  # as libraries that spread a network over devices do
    with recomputing(llama):
        assert block.forward is not own
    assert vars(block)["forward"] is own


def test_a_compiled_network_is_one_graph_for_all_draws(llama):
    """Hooks that are on when a network is compiled are in its graph, without a break, and take the weights that are bound."""
    ids = torch.randint(4, 60, (2, 5), generator=torch.Generator().manual_seed(0))
    layer = all_layers(llama)["model.layers.0.self_attn.q_proj"]
    counter = CompileCounter()
    compiled = torch.compile(lambda x: llama(x).logits, backend=counter, fullgraph=True)
    found = []
    torch._dynamo.reset()
    with (
        Attachment([Placement(layer, Core(r=2))]) as attachment,
        mode(llama),
        frozen(llama),
        torch.compiler.set_stance("default"),
    ):
        for seed in range(3):
            values = random_values(Core(r=2), layer, seed)
            attachment.bind({layer.name: {name: Shared(value) for name, value in values.items()}})
            found.append(compiled(ids))
            attachment.check_ran()
            torch.testing.assert_close(found[-1], llama(ids).logits)
    assert counter.frame_count == 1
    assert not torch.allclose(found[0], found[1])
