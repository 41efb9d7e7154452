"""Selection of layers, and the one place that knows their orientation."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from transformers import MixtralConfig, MixtralForCausalLM

from bayespeft.config import Targets
from bayespeft.errors import AttachError, ConfigError, TargetError
from bayespeft.layers.layer import all_layers
from bayespeft.layers.targets import find_layers
from tests.layers.quantised import WholeNumbers


def names(model, targets="auto", layers=None, taken=(), exclude=()):
    chosen = Targets(modules=targets, layers=layers, exclude=list(exclude))
    return [layer.name for layer in find_layers(model, chosen, taken)]


def test_auto_takes_query_and_value(bert, llama, gpt2):
    assert names(bert) == [
        f"bert.encoder.layer.{i}.attention.self.{part}" for i in range(2) for part in ("query", "value")
    ]
    assert names(llama) == [f"model.layers.{i}.self_attn.{part}" for i in range(2) for part in ("q_proj", "v_proj")]
    assert names(gpt2) == [f"transformer.h.{i}.attn.c_attn" for i in range(2)]


def test_auto_on_a_network_without_attention_lists_the_candidates(mlp):
    with pytest.raises(TargetError, match=r"no block of attention.*Sequential.*all-linear.*0, 2, 4"):
        names(mlp)


def test_names_patterns_and_ranges(llama):
    assert names(llama, ["q_proj"]) == [f"model.layers.{i}.self_attn.q_proj" for i in range(2)]
    assert names(llama, ["model.layers.1.self_attn.k_proj"]) == ["model.layers.1.self_attn.k_proj"]
    assert names(llama, r".*\.(up|down)_proj", layers=(1, 1)) == [
        f"model.layers.1.mlp.{p}_proj" for p in ("up", "down")
    ]
    assert names(llama, "model.layers.0.mlp.up_proj") == ["model.layers.0.mlp.up_proj"]
    assert names(llama, layers=(0, 0)) == [f"model.layers.0.self_attn.{p}_proj" for p in ("q", "v")]


def test_all_linear_leaves_the_output_embedding_and_the_head_out(llama, bert):
    assert "lm_head" not in names(llama, "all-linear")
    assert len(names(llama, "all-linear")) == 14
    assert "classifier" not in names(bert, "all-linear", taken=["classifier"])


def test_nothing_selected_is_an_error_that_lists_candidates(llama):
    with pytest.raises(TargetError, match=r"'qproj'.*q_proj \(x2\)"):
        names(llama, ["qproj"])
    with pytest.raises(TargetError, match=r"in layers 1 to 0 selects no linear layer.*q_proj"):
        names(llama, layers=(1, 0))
    with pytest.raises(ConfigError, match="no regular expression"):
        names(llama, "(q_proj")
    with pytest.raises(TargetError, match="no linear layer to adapt"):
        names(nn.Sequential(nn.Tanh()), "all-linear")


@pytest.mark.parametrize("wanted", [(7, 9), (1, 2), (-3, -1), (0, -3)])
def test_blocks_that_are_not_there_are_not_left_out_in_silence(llama, wanted):
    with pytest.raises(TargetError, match=r"layers=\(.*are not there: LlamaForCausalLM has 2 blocks, 0 to 1"):
        names(llama, layers=wanted)
    with pytest.raises(TargetError, match="has no block: no layer's name has a number"):
        names(nn.ModuleDict({"head": nn.Linear(2, 2)}), "all-linear", layers=(-1, -1))


def test_layers_are_excluded_by_name_or_pattern(llama):
    everything = names(llama, "all-linear")
    left = names(llama, "all-linear", exclude=["down_proj", r".*\.self_attn\..*", "model.layers.0.mlp.up_proj"])
    assert set(everything) - set(left) == {
        name
        for name in everything
        if "self_attn" in name or "down_proj" in name or name == "model.layers.0.mlp.up_proj"
    }
    assert names(llama, ["q_proj", "k_proj"], exclude=["k_proj"]) == names(llama, ["q_proj"])
    assert names(llama, exclude=["v_proj"], layers=(1, 1)) == ["model.layers.1.self_attn.q_proj"]


def test_an_exclusion_that_matches_nothing_is_an_error_with_near_names(llama):
    with pytest.raises(TargetError, match=r"targets.exclude: 'v_prj' matches none of the 4 layers.*Near: v_proj"):
        names(llama, exclude=["v_prj"])
    with pytest.raises(TargetError, match=r"'down_proj' matches none"):  # which "auto" does not select anyway
        names(llama, exclude=["down_proj"])
    with pytest.raises(ConfigError, match=r"targets.exclude: '\(v' is no regular expression"):
        names(llama, exclude=["(v"])
    with pytest.raises(TargetError, match=r"targets='auto' without q_proj, v_proj selects no linear layer"):
        names(llama, exclude=["q_proj", "v_proj"])


def test_weight_is_always_out_by_in(gpt2, llama):
    conv = all_layers(gpt2)["transformer.h.0.attn.c_attn"]
    assert (conv.kind, conv.in_features, conv.out_features) == ("conv1d", 16, 48)
    assert conv.weight().shape == (48, 16)
    x = torch.randn(3, 16)
    torch.testing.assert_close(conv.module(x), x @ conv.weight().T + conv.bias())
    linear = all_layers(llama)["model.layers.0.mlp.up_proj"]
    torch.testing.assert_close(linear.module(x), x @ linear.weight().T)
    assert linear.bias() is None


def test_weight_is_a_copy(mlp):
    layer = all_layers(mlp)["0"]
    layer.weight().zero_()
    assert mlp[0].weight.abs().sum() > 0


def test_a_packed_weight_is_an_error(mlp):
    layer = all_layers(mlp)["0"]
    mlp[0].weight = nn.Parameter(torch.zeros(30, 1, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(AttachError, match=r"'0' \(.*Linear\) stores its weight as torch.uint8"):
        layer.weight()


def test_what_only_calls_itself_linear_is_a_layer(bert):
    for layer in bert.bert.encoder.layer:
        layer.attention.self.query = WholeNumbers(layer.attention.self.query)
    queries = [f"bert.encoder.layer.{i}.attention.self.query" for i in range(2)]
    for targets in (["query"], r".*self\.query"):
        assert names(bert, targets) == queries
    assert names(bert)[::2] == queries
    assert len(names(bert, "all-linear")) == 14
    assert names(nn.Sequential(WholeNumbers(nn.Linear(3, 2))), "all-linear") == ["0"]
    # What is compiled in place stands for the layer inside.
    assert names(nn.Sequential(torch.compile(WholeNumbers(nn.Linear(3, 2)))), "all-linear") == ["0._orig_mod"]


def test_experts_in_stacks_of_matrices_are_named():
    config = MixtralConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    model = MixtralForCausalLM(config)
    stacked = [p for p in model.parameters() if p.dim() == 3]
    if not stacked:
        pytest.skip("this version of transformers has a module for each expert")
    share = sum(p.numel() for p in stacked) / sum(p.numel() for p in model.parameters())
    said = rf"{share:.0%} of the network's numbers are in {len(stacked)} stacks of matrices.*experts"
    with pytest.warns(UserWarning, match=said):
        names(model, "all-linear")
    for targets in (["gate_up_proj"], ".*experts.*"):
        with pytest.raises(TargetError, match=said):
            names(model, targets)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names(model, "auto")
        names(nn.Sequential(nn.Conv1d(3, 4, 2), nn.Linear(3, 2)), "all-linear")


def test_what_a_layer_is_made_of_is_no_layer_of_its_own():
    class Made(nn.Linear):
        def __init__(self):
            super().__init__(4, 3)
            self.inner = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 3))

        def forward(self, x):
            return self.inner(x)

    network = nn.Sequential(Made(), nn.Sequential(nn.Linear(3, 2)))
    assert list(all_layers(network)) == ["0", "1.0"]
