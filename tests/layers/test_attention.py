"""Query and value projections by structure: each form that blocks of attention have, and what is none."""

from __future__ import annotations

import pytest
import transformers
from torch import nn

from bayespeft.layers.attention import query_and_value
from paper_repro.architectures.tiny import build, tiny


def block(name="Attention", **layers):
    """A network of one module of a class that is called `name`, with linear layers (in, out)."""
    inner = type(name, (nn.Module,), {})()
    for layer, sides in layers.items():
        inner.add_module(layer, sides if isinstance(sides, nn.Module) else nn.Linear(*sides))
    return nn.ModuleDict({"block": inner})


def chosen(*args, **layers):
    return [name.removeprefix("block.") for name in query_and_value(block(*args, **layers))]


@pytest.mark.parametrize(
    "names",
    [
        ("q_proj", "k_proj", "v_proj"),
        ("query", "key", "value"),
        ("q", "k", "v"),
        ("Wq", "Wk", "Wv"),
        ("q_lin", "k_lin", "v_lin"),
        ("linear_q", "linear_k", "linear_v"),
        ("projection_query", "projection_key", "projection_value"),
        ("to_q", "to_k", "to_v"),
    ],
)
def test_three_layers_side_by_side(names):
    # No name of the class helps: the three are enough.
    assert chosen("Thing", **dict.fromkeys(names, (8, 8)), out=(8, 8)) == [names[0], names[2]]


def test_keys_and_values_of_another_width_are_cross_attention():
    assert chosen("Thing", query=(8, 8), key=(6, 8), value=(6, 8)) == ["query", "value"]


def test_a_feed_forward_layer_with_such_names_is_no_attention():
    # RWKV's: values read what keys gave.
    assert chosen("Thing", receptance=(8, 8), key=(8, 32), value=(32, 8)) == []
    assert chosen("Thing", up_proj=(8, 32), down_proj=(32, 8)) == []
    assert chosen("Mixer", in_proj=(8, 32), x_proj=(16, 4), out_proj=(16, 8)) == []
    assert chosen("Thing", query=(8, 8), key=(8, 8)) == []


@pytest.mark.parametrize("name", ["qkv", "qkv_proj", "Wqkv", "query_key_value", "in_proj_qkvz", "queries_keys_values"])
def test_one_layer_that_holds_all_three(name):
    assert chosen("SelfAttention", **{name: (8, 24)}, dense=(8, 8)) == [name]


@pytest.mark.parametrize("name", ["c_attn", "in_proj", "pack"])
def test_without_telling_names_it_is_the_layer_that_gives_more_than_it_reads(name):
    assert chosen("SelfAttention", **{name: (8, 24)}, c_proj=(8, 8)) == [name]
    assert chosen("FeedForward", **{name: (8, 24)}, c_proj=(8, 8)) == []


def test_what_has_more_to_its_name_and_makes_no_set_stays():
    layers = dict.fromkeys(("query_global", "key_position", "entity_query", "query", "key", "value", "gate"), (8, 8))
    assert chosen("Thing", **layers) == ["query", "value"]


def test_each_set_of_projections_is_taken():
    layers = dict.fromkeys(("query_global", "key_global", "value_global", "query", "key", "value", "gate"), (8, 8))
    assert chosen("Thing", **layers) == ["query_global", "value_global", "query", "value"]
    experts = dict.fromkeys(("vision_expert_query_key_value", "language_expert_query_key_value"), (8, 24))
    assert chosen("Attention", **experts, dense=(8, 8)) == list(experts)
    # A second set of another form is still one.
    mixed = {"to_q": (8, 8), "to_kv": (8, 16), "add_q": (8, 8), "add_k": (6, 8), "add_v": (6, 8), "norm_q": (8, 8)}
    assert chosen("Thing", **mixed) == ["to_q", "to_kv", "add_q", "add_v"]


def test_low_rank_projections_are_taken_where_they_give_heads():
    layers = {"q_a_proj": (8, 4), "q_b_proj": (4, 16), "kv_a_proj_with_mqa": (8, 6), "kv_b_proj": (4, 16)}
    assert chosen("LatentAttention", **layers, o_proj=(8, 8)) == ["q_b_proj", "kv_b_proj"]


def test_a_layer_in_a_part_of_its_own_is_found():
    clipped = type("Clipped", (nn.Module,), {})()
    clipped.add_module("linear", nn.Linear(8, 8))
    assert chosen("Thing", q_proj=clipped, k_proj=(8, 8), v_proj=(8, 8)) == ["q_proj.linear", "v_proj"]


# What names by architecture selected before structure did.
AS_NAMED = {
    "AlbertForSequenceClassification": ("query", "value"),
    "BartForSequenceClassification": ("v_proj", "q_proj"),
    "BertForSequenceClassification": ("query", "value"),
    "BloomForCausalLM": ("query_key_value",),
    "DebertaForSequenceClassification": ("in_proj",),
    "DebertaV2ForSequenceClassification": ("value_proj",),
    "DistilBertForSequenceClassification": ("q_lin", "v_lin"),
    "GPT2LMHeadModel": ("c_attn",),
    "GPTNeoXForCausalLM": ("query_key_value",),
    "LlamaForCausalLM": ("q_proj", "v_proj"),
    "MPNetForSequenceClassification": ("q", "v"),
    "ModernBertForSequenceClassification": ("Wqkv",),
    "MptForCausalLM": ("Wqkv",),
    "OPTForCausalLM": ("v_proj", "q_proj"),
    "Phi3ForCausalLM": ("qkv_proj",),
    "Qwen3ForCausalLM": ("q_proj", "v_proj"),
    "T5ForConditionalGeneration": ("q", "v"),
    "WhisperForConditionalGeneration": ("v_proj", "q_proj"),
}


@pytest.mark.parametrize("name", AS_NAMED)
def test_known_architectures_keep_their_layers(name):
    cls = getattr(transformers, name)
    model = build(cls, tiny(cls.config_class.model_type, cls))
    found = query_and_value(model)
    assert tuple(dict.fromkeys(layer.rsplit(".", 1)[-1] for layer in found)) == AS_NAMED[name]
    every = [layer for layer, _ in model.named_modules() if layer.rsplit(".", 1)[-1] in AS_NAMED[name]]
    assert found == every
    assert len(found) >= len(AS_NAMED[name])
