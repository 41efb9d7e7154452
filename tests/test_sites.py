"""Selection of layers, and the one place that knows their orientation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bayespeft.config import Targets
from bayespeft.errors import AttachError, ConfigError, TargetError
from bayespeft.sites import all_sites, find_head, find_sites


def names(model, targets="auto", layers=None, exclude=()):
    return [site.name for site in find_sites(model, Targets(modules=targets, layers=layers), exclude)]


def test_auto_takes_query_and_value(bert, llama, gpt2):
    assert names(bert) == [
        f"bert.encoder.layer.{i}.attention.self.{part}" for i in range(2) for part in ("query", "value")
    ]
    assert names(llama) == [f"model.layers.{i}.self_attn.{part}" for i in range(2) for part in ("q_proj", "v_proj")]
    assert names(gpt2) == [f"transformer.h.{i}.attn.c_attn" for i in range(2)]


def test_auto_on_an_unknown_network_lists_the_candidates(mlp):
    with pytest.raises(TargetError, match=r"Sequential.*all-linear.*0, 2, 4"):
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
    assert "classifier" not in names(bert, "all-linear", exclude=["classifier"])


def test_nothing_selected_is_an_error_that_lists_candidates(llama):
    with pytest.raises(TargetError, match=r"'qproj'.*q_proj \(x2\)"):
        names(llama, ["qproj"])
    with pytest.raises(TargetError, match=r"in layers 7 to 9 selects no linear layer.*q_proj"):
        names(llama, layers=(7, 9))
    with pytest.raises(ConfigError, match="no regular expression"):
        names(llama, "(q_proj")
    with pytest.raises(TargetError, match="no linear layer to adapt"):
        names(nn.Sequential(nn.Tanh()), "all-linear")


def test_head_is_what_lies_outside_the_body_of_a_classifier(bert, llama, mlp):
    assert [site.name for site in find_head(bert)] == ["classifier"]
    assert find_head(llama) == []
    assert find_head(mlp) == []


def test_weight_is_always_out_by_in(gpt2, llama):
    conv = all_sites(gpt2)["transformer.h.0.attn.c_attn"]
    assert (conv.kind, conv.in_features, conv.out_features) == ("conv1d", 16, 48)
    assert conv.weight().shape == (48, 16)
    x = torch.randn(3, 16)
    torch.testing.assert_close(conv.module(x), x @ conv.weight().T + conv.bias())
    linear = all_sites(llama)["model.layers.0.mlp.up_proj"]
    torch.testing.assert_close(linear.module(x), x @ linear.weight().T)
    assert linear.bias() is None


def test_weight_is_a_copy(mlp):
    site = all_sites(mlp)["0"]
    site.weight().zero_()
    assert mlp[0].weight.abs().sum() > 0


def test_a_packed_weight_is_an_error(mlp):
    site = all_sites(mlp)["0"]
    mlp[0].weight = nn.Parameter(torch.zeros(30, 1, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(AttachError, match=r"'0' stores its weight as torch.uint8"):
        site.weight()
