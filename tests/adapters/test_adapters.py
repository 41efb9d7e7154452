"""What is special to one adapter; what all of them owe is in tests/contracts."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.base import Adapter
from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.adapters.lora import Lora
from bayespeft.adapters.masked_lora import MaskedLora
from bayespeft.adapters.orthonormal_core import OrthonormalCore
from bayespeft.adapters.rank_one import RankOne
from bayespeft.adapters.scaled_rows import ScaledRows
from bayespeft.errors import GuideError
from bayespeft.layers.layer import all_layers
from bayespeft.layers.weights import Flipped, Grouped, Shared, TokenFlipped
from tests.adapters.helpers import a_layer, random_values

LATENTS = [("A",), ("B",), ("A", "B"), ()]


@pytest.mark.parametrize("latent", LATENTS)
class TestLoraLatents:
    def test_roles_follow_the_setting_and_the_start_is_the_base(self, latent):
        layer = a_layer(5, 4)
        factors = Lora(r=2, latent=latent).factors(layer, torch.Generator().manual_seed(0))
        assert {name for name, factor in factors.items() if factor.role == "latent"} == set(latent)
        assert {factor.role for factor in factors.values()} <= {"latent", "point"}
        assert all(factor.center is None for factor in factors.values())
        x = torch.randn(3, 4)
        y = layer.module(x)
        assert torch.equal(
            Lora(r=2, latent=latent).apply({k: Shared(f.init) for k, f in factors.items()}, x, y, layer), y
        )

    def test_every_subset_can_be_grouped(self, latent):
        layer, adapter = a_layer(5, 4), Lora(r=2, latent=latent)
        draws = [random_values(adapter, layer, seed) for seed in (1, 2)]
        x = torch.randn(4, 3, 4, dtype=torch.double)
        y = torch.zeros(4, 3, 5, dtype=torch.double)
        folded = {k: Grouped(torch.stack([d[k] for d in draws])) if k in latent else Shared(draws[0][k]) for k in "AB"}
        found = adapter.apply(folded, x, y, layer)
        for row in range(4):
            single = {k: draws[row // 2 if k in latent else 0][k] for k in "AB"}
            torch.testing.assert_close(found[row], x[row] @ adapter.delta(single, layer).T)

    def test_json_and_a_fit(self, latent, mlp, xy):
        adapter = Lora(r=2, latent=latent)
        assert Adapter.model_validate(json.loads(adapter.model_dump_json())) == adapter
        options = {"adapter": adapter, "targets": "all-linear", "train": TrainConfig(steps=2), "progress": False}
        if not latent:
            with pytest.raises(GuideError, match="no latent factor"):
                bayespeft.fit(mlp, xy, "blob", **options)
            return
        posterior = bayespeft.fit(mlp, xy, "blob", **options)
        assert {stack.factor for stack in posterior.joint_guide.latent.stacks} == set(latent)
        assert torch.isfinite(posterior.predict(xy, draws=3).log_probs).all()


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


def test_token_signs_of_a_mask_differ_from_token_to_token():
    layer, adapter = a_layer(5, 4), MaskedLora(r=2)
    values = random_values(adapter, layer)
    weights = {k: Shared(v) for k, v in values.items()}
    weights["z"] = TokenFlipped(torch.zeros(4).double(), torch.ones(4).double())
    x = torch.ones(1, 64, 4, dtype=torch.double)
    out = adapter.apply(weights, x, torch.zeros(1, 64, 5, dtype=torch.double), layer)[0]
    assert len(out.round(decimals=6).unique(dim=0)) > 8


def test_only_the_core_of_a_frozen_core_is_trained(mlp, xy):
    options = {"targets": "all-linear", "train": TrainConfig(steps=3), "progress": False}
    posterior = bayespeft.fit(mlp, xy, "melora", adapter=FrozenCore(r=2), **options)
    layers = 3
    assert posterior.joint_guide.trainable() == layers * 2 * 2 * 2
    turned = bayespeft.fit(mlp, xy, "melora", adapter=OrthonormalCore(r=2), **options)
    start = {stack.name: stack.init for stack in turned.joint_guide.stacks}
    for name, mean in turned.joint_guide.mean().items():
        assert not torch.equal(mean.detach(), start[name]), f"{name} did not move"
