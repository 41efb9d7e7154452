"""Hooks that watch a network: which layers ran, what they were given, and the dense gradients of their weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bayespeft.layers.layer import all_layers
from bayespeft.layers.watched import Counted, DenseGradients, noting, watching


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Linear(2, 2)).requires_grad_(False)


def test_what_ran_is_noted_and_no_hook_stays(network):
    with noting(all_layers(network).values()) as ran:
        network[:3](torch.ones(1, 3))
    network(torch.ones(1, 3))
    assert ran == {"0", "2"}


def test_inputs_are_those_of_the_layers_and_leaves_tell_which_rows_matter(network):
    x = torch.randn(5, 3)
    with watching({"2": network[2]}) as seen:
        output = network(x)
    ((given, leaf),) = seen["2"]
    torch.testing.assert_close(given, torch.tanh(network[0](x)))
    (gradient,) = torch.autograd.grad(output[1].sum(), leaf)
    assert gradient.abs().sum(-1).nonzero().flatten().tolist() == [1]


@pytest.mark.parametrize(("of", "act"), [("signed", lambda g: g), ("absolute", torch.abs), ("squared", torch.square)])
def test_dense_gradients_are_those_of_autograd_added_up_over_the_steps_that_count(network, of, act):
    layer = all_layers(network)["0"]
    batches = torch.randn(4, 2, 5, 3)  # steps, examples, tokens, features
    expected = torch.zeros(4, 3)
    for x in batches[1:3]:
        weight = layer.module.weight.detach().clone().requires_grad_()
        y = torch.tanh(nn.functional.linear(x, weight, layer.module.bias))
        network[2:](y).square().sum().backward()
        expected += act(weight.grad)
    with DenseGradients({layer: Counted(range(1, 3), of)}, torch.device("cpu")) as recording:
        for step, x in enumerate(batches):
            network(x.clone().requires_grad_()).square().sum().backward()
            recording.after(step + 1, None)
    torch.testing.assert_close(recording.totals["0"], expected)
