"""Layers that store their weight in a form of their own: an adapter beside them, and their weight as it acts."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import AttachError, CheckpointError
from bayespeft.layers.dequantised import computes_in_half, dequantised
from bayespeft.layers.layer import all_layers, as_layer
from tests.layers.quantised import STAND_INS, Casting, Dequantising, HalfInside, HalfPrecision, WholeNumbers, replaced

each = pytest.mark.parametrize("kind", STAND_INS)
METHODS = ("mle", "melora", "blob", "laplace_lora")


def of(kind: str, bias: bool = True) -> tuple[nn.Linear, nn.Module]:
    torch.manual_seed(0)
    plain = nn.Linear(7, 7, bias=bias)  # square: nothing but its action tells the weight from its transpose
    return copy.deepcopy(plain), STAND_INS[kind](plain)


@each
@pytest.mark.parametrize("bias", [True, False])
def test_the_weight_is_that_by_which_the_layer_acts(kind, bias):
    plain, module = of(kind, bias)
    layer = as_layer("layer", module)
    assert layer is not None
    assert layer.packed
    assert (layer.in_features, layer.out_features) == (7, 7)
    weight = layer.weight()
    x = torch.randn(5, 7)
    torch.testing.assert_close(x @ weight.mT + (layer.bias() if bias else 0), module(x), atol=1e-5, rtol=1e-5)
    assert (weight - plain.weight).norm() < 0.05 * plain.weight.norm()
    with pytest.raises(AttachError, match=r"'layer' .* stores its weight .* merging into it would round"):
        layer.check_mergeable()


def test_a_layer_that_takes_half_precision_alone_is_read_in_it():
    torch.manual_seed(0)
    plain = nn.Linear(6, 4)
    weight = as_layer("layer", HalfPrecision(plain)).weight()
    assert (weight - plain.weight).norm() < 0.02 * plain.weight.norm()


def test_scales_that_follow_the_input_s_precision_are_given_back():
    module = Casting(nn.Linear(6, 4))
    module(torch.ones(1, 6, dtype=torch.bfloat16))
    held = dict(module.named_buffers())
    weight = as_layer("layer", module).weight()
    assert weight.shape == (4, 6)
    assert all(value is held[name] for name, value in module.named_buffers())
    assert module.scales.dtype == torch.bfloat16


def test_a_layer_that_computes_in_half_precision_is_told_by_its_numbers():
    torch.manual_seed(0)
    plain = nn.Linear(6, 4)
    kinds = {WholeNumbers: False, Dequantising: False, HalfInside: True, Casting: False}
    assert {kind: computes_in_half(kind(plain), 6) for kind in kinds} == kinds
    assert not computes_in_half(HalfPrecision(plain), 6)  # it takes no float32


def test_what_a_layer_says_is_not_believed_where_it_acts_otherwise():
    """HQQ's layers of some axes return their weight transposed."""
    _, module = of("hqq")
    own = module.dequantize()
    module.dequantize = lambda: own.mT
    torch.testing.assert_close(as_layer("layer", module).weight(), own, atol=1e-5, rtol=1e-5)


def test_a_map_that_is_not_linear_has_no_weight():
    class Bent(nn.Module):
        in_features, out_features = 4, 4

        def forward(self, x):
            return x.relu() + x**2

    assert dequantised(Bent(), 4, 4) is None
    with pytest.raises(
        AttachError, match=r"'bent' \(.*Bent\) stores its weight in a form of its own, .* needs no weight"
    ):
        as_layer("bent", Bent()).weight()


def test_hooks_and_mode_are_passed_over():
    _, module = of("gptq")
    expected = as_layer("layer", module).weight()
    module.eval()
    module.register_forward_hook(lambda *_: torch.zeros(1))
    torch.testing.assert_close(as_layer("layer", module).weight(), expected)
    assert not module.training


@pytest.mark.parametrize("method", METHODS)
@each
def test_a_quantised_network_fits_predicts_saves_and_loads(kind, method, bert, sentences, tokenizer, tmp_path):
    model = replaced(bert, STAND_INS[kind], "bert.encoder")
    before = {name: layer.weight() for name, layer in all_layers(model).items()}
    train = TrainConfig(steps=2, batch_size=4)
    posterior = bayespeft.fit(model, sentences, method, tokenizer=tokenizer, train=train, progress=False)
    adapted = [p.layer for p in posterior.placements if not p.head]
    assert len(adapted) == 4
    assert all(layer.packed for layer in adapted)
    found = posterior.predict(sentences, draws=2).log_probs
    posterior.save(tmp_path / "run")
    again = bayespeft.load(tmp_path / "run", model, tokenizer=tokenizer)
    assert torch.equal(found, again.predict(sentences, draws=2).log_probs)
    assert all(torch.equal(before[name], layer.weight()) for name, layer in all_layers(model).items())
    with pytest.raises(AttachError, match="merging into it would round the change away"):
        posterior.merged_model()


@pytest.mark.parametrize("method", ["dora", "lora_xs_bayes", "rosa_sparse"])
@each
def test_methods_that_read_the_weight_read_the_one_that_acts(kind, method, bert, sentences, tokenizer):
    """The fit on a quantised base is that on the network that it computes, in float32."""
    quantised = replaced(copy.deepcopy(bert), STAND_INS[kind], "bert.encoder")
    weights = all_layers(quantised)
    for name, layer in all_layers(bert).items():
        with torch.no_grad():
            layer.module.weight.copy_(weights[name].weight())
    train = TrainConfig(steps=2, batch_size=4)
    one, other = (
        bayespeft.fit(model, sentences, method, tokenizer=tokenizer, train=train, progress=False).predict(
            sentences, draws=2
        )
        for model in (quantised, bert)
    )
    torch.testing.assert_close(one.log_probs, other.log_probs, atol=1e-3, rtol=1e-3)


def test_methods_that_merge_are_refused_by_name(bert, sentences, tokenizer):
    model = replaced(bert, STAND_INS["gptq"], "bert.encoder")
    with pytest.raises(
        AttachError, match=r"query' \(.*WholeNumbers\) stores its weight in a form of its own, and merging"
    ):
        bayespeft.fit(model, sentences, "rosa_subspace", tokenizer=tokenizer, progress=False)


def test_other_values_of_a_quantised_tensor_are_another_base(bert, sentences, tokenizer, tmp_path):
    model = replaced(bert, STAND_INS["torchao"], "bert.encoder")
    train = TrainConfig(steps=1, batch_size=4)
    bayespeft.fit(model, sentences, "mle", tokenizer=tokenizer, train=train, progress=False).save(tmp_path / "run")
    model.bert.encoder.layer[1].output.dense.weight.scales[0] *= 2
    with pytest.raises(CheckpointError, match=r"layer\.1\.output\.dense\.weight\.scales' has other values"):
        bayespeft.load(tmp_path / "run", model, tokenizer=tokenizer)


def test_a_module_that_only_has_the_attributes_is_left_out_or_named(bert, sentences, tokenizer):
    class Scores(nn.Module):
        """As routers and integer networks' layers: it hands on a scale beside its output."""

        def __init__(self, layer):
            super().__init__()
            self.in_features, self.out_features, self.layer = layer.in_features, layer.out_features, [layer]

        def forward(self, x):
            return self.layer[0](x), 1.0

    class Unpacked(nn.Module):
        def __init__(self, scores):
            super().__init__()
            self.scores = scores

        def forward(self, x):
            return self.scores(x)[0]

    for block in bert.bert.encoder.layer:
        block.attention.output.dense = Unpacked(Scores(block.attention.output.dense))
    settings = {"tokenizer": tokenizer, "train": TrainConfig(steps=1, batch_size=4), "progress": False}
    with pytest.warns(UserWarning, match="leaves out 'bert.encoder.layer.0.attention.output.dense.scores' and 1 more"):
        bayespeft.fit(bert, sentences, "mle", targets="all-linear", **settings)
    with pytest.raises(
        AttachError, match=r"'bert.encoder.layer.0.attention.output.dense.scores' \(Scores\) makes tuple of"
    ):
        bayespeft.fit(bert, sentences, "mle", targets=["scores"], **settings)
