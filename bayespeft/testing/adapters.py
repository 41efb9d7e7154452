"""What every adapter owes the house."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from bayespeft.adapters.base import Adapter
from bayespeft.errors import GuideError
from bayespeft.guides.base import Noise
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.layers.layer import Layer, all_layers
from bayespeft.layers.weights import Flipped, Grouped, Shared, Weight
from bayespeft.priors.flat import Flat
from bayespeft.testing.fits import check_round_trip, method_of
from bayespeft.utils.randomness import seeded
from bayespeft.variational.noise import spread


def a_layer(kind: str) -> Layer:
    """Return a linear layer (16, 32) without a bias, or GPT-2's transposed one (48, 16) with one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(32, 16, bias=False) if kind == "linear" else Conv1D(48, 16)
        nn.init.normal_(layer.weight, std=0.5)
        if kind != "linear":
            nn.init.normal_(layer.bias)
    return all_layers(nn.ModuleDict({"layer": layer}))["layer"]


class AdapterContract:
    """Tests of one adapter.

    Attributes:
        adapter: with a rank of at most 16, which the smallest layer has.
    """

    adapter: Adapter

    @pytest.fixture
    def subject(self) -> Adapter:
        """The adapter that is tested."""
        return self.adapter

    @pytest.fixture(params=["linear", "conv1d"])
    def layer(self, request: pytest.FixtureRequest) -> Layer:
        """A layer of each kind."""
        return a_layer(request.param)

    def values(self, adapter: Adapter, layer: Layer, seed: int) -> dict[str, Tensor]:
        """Initial values of every factor, moved at random; whole numbers, which are positions, stay."""
        generator = torch.Generator().manual_seed(seed)
        return {
            name: factor.init + torch.randn(factor.init.shape, generator=generator)
            if factor.init.is_floating_point()
            else factor.init
            for name, factor in adapter.factors(layer, generator).items()
        }

    def test_starts_as_the_base(self, subject: Adapter, layer: Layer) -> None:
        """Whatever the draw of what is random later, the network is the base before the first step."""
        factors = subject.factors(layer, torch.Generator().manual_seed(0))
        x, y = an_input(layer)
        found = subject.apply({k: Shared(f.init) for k, f in factors.items()}, x, y, layer)
        torch.testing.assert_close(found, y, atol=1e-5, rtol=1e-4)

    def test_apply_is_the_dense_delta(self, subject: Adapter, layer: Layer) -> None:
        """What it does to an input is what the change of the weight does."""
        values = self.values(subject, layer, 1)
        x, y = an_input(layer)
        found = subject.apply({k: Shared(v) for k, v in values.items()}, x, y, layer)
        delta = subject.delta(values, layer)
        assert delta.shape == (layer.out_features, layer.in_features)
        torch.testing.assert_close(found, y + x @ delta.T, atol=1e-2, rtol=1e-3)

    def test_lora_form_is_the_dense_delta(self, subject: Adapter, layer: Layer) -> None:
        """If the change is a LoRA, it is that LoRA exactly."""
        values = {k: value.double() for k, value in self.values(subject, layer, 1).items()}
        lora = subject.to_lora(values, layer)
        if lora is None:
            pytest.skip("its change has no low-rank form")
        a, b, scale = lora
        assert a.shape[0] == b.shape[1]
        torch.testing.assert_close(scale * b @ a, subject.delta(values, layer))

    @pytest.mark.parametrize("noise", get_args(Noise))
    def test_noise_is_right_for_each_example_or_refused(self, subject: Adapter, layer: Layer, noise: Noise) -> None:
        """Each example meets the network of its own draw; where signs are flipped in vain, the reason says what to do."""
        adapter = all_latent(subject)
        factors = adapter.factors(layer, torch.Generator().manual_seed(0))
        latent = [name for name, factor in factors.items() if factor.role == "latent"]
        if not latent:
            pytest.skip("none of its factors is latent")
        means = self.values(adapter, layer, 0)
        draws = [self.values(adapter, layer, seed) for seed in range(1, 5)]
        weights: dict[str, Weight] = {name: Shared(value) for name, value in means.items()}
        with seeded(0):
            for name in latent:
                drawn = torch.stack([draw[name] for draw in draws]).unsqueeze(1)
                value = drawn if noise == "example" else drawn[0]
                weights[name] = spread(noise, value, means[name].unsqueeze(0), 0, len(draws))
        x, y = an_input(layer, len(draws))
        found, refusal = applied(adapter, weights, x, y, layer)
        if refusal is not None:
            assert noise in ("flipout", "token"), f"noise='{noise}' is right for every adapter, but: {refusal}"
            assert "'example'" in refusal, f"the reason must say which noise to use: {refusal}"
            return
        assert found.shape == y.shape
        if noise == "token":  # signs of its own for each token: there is no network that an example meets
            assert torch.isfinite(found).all()
            return
        for row in range(len(draws)):
            own = {name: Shared(value_of(weight, row)) for name, weight in weights.items()}
            one = slice(row, row + 1)
            torch.testing.assert_close(found[one], adapter.apply(own, x[one], y[one], layer), atol=1e-3, rtol=1e-3)

    def test_draws_can_be_folded_into_the_batch(self, subject: Adapter, layer: Layer) -> None:
        """In prediction each draw meets all examples: two draws of two examples each are four rows."""
        adapter = all_latent(subject)
        factors = adapter.factors(layer, torch.Generator().manual_seed(0))
        first, second = (self.values(adapter, layer, seed) for seed in (1, 2))
        latent = {name for name, factor in factors.items() if factor.role == "latent"}
        folded: dict[str, Weight] = {
            name: Grouped(torch.stack([first[name], second[name]])) if name in latent else Shared(first[name])
            for name in factors
        }
        x, y = an_input(layer)
        found = adapter.apply(folded, x, y, layer)
        for i, draw in enumerate((first, second)):
            rows = slice(2 * i, 2 * i + 2)
            single = {name: Shared(draw[name] if name in latent else first[name]) for name in factors}
            expected = adapter.apply(single, x[rows], y[rows], layer)
            torch.testing.assert_close(found[rows], expected, atol=1e-3, rtol=1e-3)

    def test_initial_values_are_decided_by_the_generator(self, subject: Adapter, layer: Layer) -> None:
        """The same seed gives the same start."""
        first, again = (subject.factors(layer, torch.Generator().manual_seed(7)) for _ in range(2))
        assert all(torch.equal(first[name].init, again[name].init) for name in first)

    def test_json_round_trip(self, subject: Adapter) -> None:
        """Settings are read as they were written, by the registered name."""
        assert Adapter.model_validate(json.loads(subject.model_dump_json())) == subject

    def test_fits_saves_loads_and_predicts(self, subject: Adapter, tmp_path: Path) -> None:
        """It trains on a network, with a posterior if something is latent, and is the same when it is loaded."""
        latent = any(f.role == "latent" for f in subject.factors(a_layer("linear"), torch.Generator()).values())
        guide = MeanField(init_std=(0.1, 0.1)) if latent else Point()
        prior = None if latent else Flat()
        predictive = check_round_trip(method_of(adapter=subject, guide=guide, prior=prior), tmp_path)
        assert predictive.draws == (3 if latent else 0)


def an_input(layer: Layer, examples: int = 4) -> tuple[Tensor, Tensor]:
    """Return the input (examples, 3, n) of a layer, and its own output (examples, 3, m)."""
    x = torch.randn(examples, 3, layer.in_features, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return x, layer.module(x)


def applied(
    adapter: Adapter, weights: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer
) -> tuple[Tensor, str | None]:
    """Return what an adapter makes of an output; or, where it refuses the weights, that output and the reason."""
    try:
        with seeded(1):
            return adapter.apply(weights, x, y, layer), None
    except GuideError as error:
        return y, str(error)


def all_latent(adapter: Adapter) -> Adapter:
    """Return an adapter with everything latent that its setting `latent`, if it has one, can name."""
    field: Any = type(adapter).model_fields.get("latent")
    return adapter if field is None else adapter.replace(latent=get_args(get_args(field.annotation)[0]))


def value_of(weight: Weight, row: int) -> Tensor:
    """Return the value that a row of a batch meets, of a weight with one group, or one pattern of signs, for each."""
    if isinstance(weight, Shared):
        return weight.value
    if isinstance(weight, Grouped):
        return weight.value[row]
    assert isinstance(weight, Flipped)
    signs = weight.sign_in[row] if weight.sign_out is None else torch.outer(weight.sign_out[row], weight.sign_in[row])
    return weight.mean + weight.deviation * signs
