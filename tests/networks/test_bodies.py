"""What was pretrained in a network: the outermost models of transformers, their bodies, and how fresh weights are drawn."""

from __future__ import annotations

from torch import nn

from bayespeft.networks.bodies import body_of, initial_spread, pretrained


def test_models_inside_a_module_are_found_once_each_and_not_those_inside_them(bert, llama, mlp):
    around = nn.ModuleDict({"first": bert, "second": nn.Sequential(mlp, llama)})
    assert list(pretrained(around)) == [("first.", bert), ("second.1.", llama)]
    assert list(pretrained(bert)) == [("", bert)]
    assert list(pretrained(mlp)) == []


def test_the_body_is_what_the_task_did_not_add(bert, llama):
    assert body_of(bert) is bert.bert
    assert body_of(bert.bert) is bert.bert
    assert body_of(llama) is llama, "the output layer of a language model was pretrained, too"


def test_the_spread_of_fresh_weights_is_what_the_network_says(bert, mlp):
    assert initial_spread(bert) == 0.5
    assert initial_spread(mlp) is None
