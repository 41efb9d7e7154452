"""Rank-one factors of rows and columns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.masked_lora import MaskedLora
from bayespeft.adapters.rank_one import RankOne
from bayespeft.adapters.scaled_rows import ScaledRows
from bayespeft.layers.layer import all_layers
from bayespeft.layers.weights import Flipped, Shared
from tests.adapters.helpers import a_layer


class TestRankOne:
    def layer(self, kind: str, gpt2):
        return all_layers(gpt2)["transformer.h.0.attn.c_attn"] if kind == "conv1d" else a_layer(7, 16, bias=True)

    @pytest.mark.parametrize("kind", ["linear", "conv1d"])
    def test_is_the_equation_of_the_paper(self, kind, gpt2):
        layer = self.layer(kind, gpt2)
        a, b = torch.randn(layer.in_features), torch.randn(layer.out_features)
        x = torch.randn(4, 3, layer.in_features)
        found = RankOne().apply({"a": Shared(a), "b": Shared(b)}, x, layer.module(x), layer)
        torch.testing.assert_close(found, b * ((a * x) @ layer.weight().T) + layer.bias(), atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("kind", ["linear", "conv1d"])
    def test_signs_for_each_example_are_a_network_for_each_example(self, kind, gpt2):
        layer = self.layer(kind, gpt2)
        x = torch.randn(2, 3, layer.in_features)
        means, deviations, signs = ({}, {}, {})
        for name, size in (("a", layer.in_features), ("b", layer.out_features)):
            means[name], deviations[name] = torch.randn(2, size)
            signs[name] = torch.randn(2, size).sign()
        flipped = {k: Flipped(means[k], deviations[k], None, signs[k]) for k in means}
        found = RankOne().apply(flipped, x, layer.module(x), layer)
        for i in range(2):
            own = {k: Shared(means[k] + deviations[k] * signs[k][i]) for k in means}
            expected = RankOne().apply(own, x[i : i + 1], layer.module(x[i : i + 1]), layer)
            torch.testing.assert_close(found[i : i + 1], expected, atol=1e-4, rtol=1e-4)

    def test_half_precision_in_half_precision_out(self):
        layer = a_layer(7, 16, bias=True)
        layer.module.bfloat16()
        x = torch.randn(4, 16, dtype=torch.bfloat16)
        ones = {"a": Shared(torch.ones(16)), "b": Shared(torch.ones(7))}
        y = layer.module(x)
        found = RankOne().apply(ones, x, y, layer)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, y, atol=0.05, rtol=0.02)

    def test_a_layers_weight_is_not_needed_to_apply(self):
        class Packed(nn.Linear):
            """As a quantised layer: what is stored is not the matrix."""

            def forward(self, x):
                return x @ self.matrix.T

        linear = Packed(4, 3, bias=False)
        linear.weight = nn.Parameter(torch.zeros(6, 1, dtype=torch.uint8), requires_grad=False)
        linear.matrix = torch.randn(3, 4)
        layer = all_layers(nn.Sequential(linear))["0"]
        a, b, x = torch.randn(4), torch.randn(3), torch.randn(2, 4)
        found = RankOne().apply({"a": Shared(a), "b": Shared(b)}, x, linear(x), layer)
        torch.testing.assert_close(found, b * ((a * x) @ linear.matrix.T))


VECTORS = {RankOne: ("a", "b"), ScaledRows: ("z",), MaskedLora: ("z",)}


@pytest.mark.parametrize("cls", VECTORS)
def test_vectors_are_centered_at_what_leaves_the_network_alone(cls):
    factors = cls().factors(a_layer(16, 16), torch.Generator().manual_seed(0))
    assert {name for name, factor in factors.items() if factor.role == "latent"} == set(VECTORS[cls])
    for name in VECTORS[cls]:
        if cls is ScaledRows:  # B = 0 does it there, and z has the zero-mean prior of the paper
            assert factors[name].center is None
        else:
            assert torch.equal(factors[name].center, torch.ones(16))
            assert torch.equal(factors[name].init, torch.ones(16))


@pytest.mark.parametrize("method", ["blob", "blob_official", "melora"])
@pytest.mark.parametrize("cls", VECTORS)
def test_vectors_survive_recomputed_activations(cls, method, bert, tokenizer, sentences):
    """A forward pass that is run twice for one backward pass must meet the same noise twice: same fit either way."""
    fits = [
        bayespeft.fit(
            bert,
            sentences,
            method,
            adapter=cls(),
            tokenizer=tokenizer,
            train=TrainConfig(steps=3, checkpoint_activations=checkpoint),
            progress=False,
        )
        for checkpoint in (False, True)
    ]
    first, second = (fit.joint_guide.state_dict() for fit in fits)
    for key in first:
        torch.testing.assert_close(first[key], second[key], atol=1e-5, rtol=1e-4)
