"""RoSA: masks, gradients on them, merged weights, and how it is fitted, pruned and put on a quantised base."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.lora import Lora
from bayespeft.adapters.sparse_low_rank import SparseLowRank, top_positions
from bayespeft.errors import AttachError, ConfigError, FitError
from bayespeft.layers.factors import Factor, stack_factors
from bayespeft.layers.layer import all_layers
from bayespeft.layers.weights import Shared
from bayespeft.priors.flat import Flat
from tests.adapters.helpers import a_layer, random_values

LATENT = SparseLowRank(r=2, density=0.2, mask_steps=3, latent=("values",))


def initial(adapter: SparseLowRank, layer, seed: int = 0) -> dict[str, torch.Tensor]:
    return {k: f.init for k, f in adapter.factors(layer, torch.Generator().manual_seed(seed)).items()}


class TestSettings:
    def test_parts_that_are_not_there_have_no_factors(self):
        layer = a_layer(5, 4)
        assert set(initial(SparseLowRank(r=0, density=0.5), layer)) == {"values", "index"}
        assert set(initial(SparseLowRank(r=2, density=0), layer)) == {"A", "B"}
        core = SparseLowRank(r=2, density=0.5, latent=("values", "C")).factors(layer, torch.Generator())
        assert {name for name, f in core.items() if f.role == "latent"} == {"values", "C"}
        assert torch.equal(core["C"].center, torch.eye(2))
        assert core["index"].role == "fixed"

    @pytest.mark.parametrize(
        "fields", [{"r": 0, "density": 0}, {"r": 0, "latent": ("C",)}, {"density": 0, "latent": ("values",)}]
    )
    def test_nothing_to_learn_is_refused(self, fields):
        with pytest.raises(ConfigError, match=r"nothing to learn|needs r above 0"):
            SparseLowRank(**fields)

    def test_low_rank_alone_is_lora(self):
        layer = a_layer(5, 4)
        adapter = SparseLowRank(r=2, density=0)
        values = random_values(adapter, layer)
        assert torch.equal(adapter.delta(values, layer), Lora(r=2).delta(values, layer))
        a, b, scale = adapter.to_lora(values, layer)
        torch.testing.assert_close(scale * b @ a, adapter.delta(values, layer))
        assert (
            SparseLowRank(r=2, density=0.5).to_lora(random_values(SparseLowRank(r=2, density=0.5), layer), layer)
            is None
        )
        assert adapter.warm_up() is None


class TestMask:
    @given(m=st.integers(1, 30), n=st.integers(1, 30), percent=st.integers(1, 100))
    def test_counts_are_exact(self, m, n, percent):
        layer = a_layer(m, n)
        adapter = SparseLowRank(density=percent / 100)
        k = max(1, percent * m * n // 100)  # in whole numbers: the floor, at least one
        index = initial(adapter, layer)["index"]
        scores = torch.rand(m, n, generator=torch.Generator().manual_seed(0))
        for found in (index, adapter.warmed_up(layer, scores)["index"]):
            assert found.dtype == torch.int64
            assert len(found.unique()) == len(found) == adapter.nonzeros(layer) == k
            assert int(found.min()) >= 0
            assert int(found.max()) < m * n

    @given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 30))
    def test_the_largest_are_taken_and_of_equal_ones_the_first(self, scores, k):
        k = min(k, len(scores))
        expected = sorted(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k])
        assert top_positions(torch.tensor(scores, dtype=torch.float).reshape(1, -1), k).tolist() == expected

    def test_gradients_that_are_no_numbers_choose_nothing(self):
        with pytest.raises(FitError, match=r"layer\.0.*not finite"):
            SparseLowRank().warmed_up(a_layer(2, 2), torch.tensor([[1.0, math.nan], [0, 0]]))

    def test_random_masks_of_a_large_layer_stay_whole_numbers(self):
        layer = all_layers(nn.ModuleDict({"x": nn.Linear(8192, 4096, device="meta")}))["x"]
        index = initial(SparseLowRank(r=0, density=1e-5, mask="random"), layer)["index"]
        assert int(index.max()) > 2**24
        (stacked,) = stack_factors({"x": {"index": Factor(index, "fixed")}}, {"fixed": Flat()})
        assert torch.equal(stacked.init[0], index)


class TestChange:
    def test_the_example_of_the_blog_has_full_rank(self):
        """[[1, 0], [0, 2], [3, 3]] @ [[1, 0, -1], [0, 3, -2]] has rank 2; one element more, at (2, 1), and it has 3."""
        layer = a_layer(3, 3)
        values = {
            "A": torch.tensor([[1.0, 0, -1], [0, 3, -2]]),
            "B": torch.tensor([[1.0, 0], [0, 2], [3, 3]]),
            "values": torch.ones(1),
            "index": torch.tensor([3]),
        }
        change = SparseLowRank(r=2, alpha=2, density=0.1).delta(values, layer)
        assert torch.equal(change, torch.tensor([[1.0, 0, -1], [1, 6, -4], [3, 9, -9]]))
        assert float(torch.linalg.det(change.double())) == pytest.approx(-9)
        assert torch.linalg.matrix_rank(values["B"] @ values["A"]) == 2

    @pytest.mark.parametrize("latent", [(), ("values",), ("values", "C")])
    @pytest.mark.parametrize("kind", ["linear", "conv1d"])
    def test_merged_weights_give_equal_outputs_and_masked_gradients(self, latent, kind, gpt2):
        layer = all_layers(gpt2)["transformer.h.0.attn.c_attn"] if kind == "conv1d" else a_layer(7, 16, bias=True)
        adapter = SparseLowRank(r=3, density=0.2, latent=latent)
        values = {k: v.float() if k != "index" else v.long() for k, v in random_values(adapter, layer).items()}
        values["values"].requires_grad_()
        x = torch.randn(4, 3, layer.in_features, generator=torch.Generator().manual_seed(1))
        y = adapter.apply({k: Shared(v) for k, v in values.items()}, x, layer.module(x).detach(), layer)
        weight = (layer.weight() + adapter.delta(values, layer)).detach().requires_grad_()
        merged = nn.functional.linear(x, weight, layer.bias())
        torch.testing.assert_close(y, merged, atol=1e-4, rtol=1e-4)
        dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
        (found,) = torch.autograd.grad(y, values["values"], dy)
        (whole,) = torch.autograd.grad(merged, weight, dy)
        torch.testing.assert_close(found, whole.flatten()[values["index"]], atol=1e-4, rtol=1e-4)


class TestQuantised:
    """QRoSA: a frozen base of 4 or 8 bits needs no reading of its weights."""

    def quantised(self, bits: int) -> nn.Module:
        bitsandbytes = pytest.importorskip("bitsandbytes")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            plain = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 3))
            layer = (
                bitsandbytes.nn.Linear4bit(64, 32, compute_dtype=torch.float32)
                if bits == 4
                else bitsandbytes.nn.Linear8bitLt(64, 32, has_fp16_weights=False)
            )
        layer.load_state_dict(plain[0].state_dict())
        plain[0] = layer.to("cpu")
        return plain

    @pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
    @pytest.mark.parametrize("bits", [4, 8])
    def test_fits_and_refuses_to_merge(self, bits, tmp_path):
        model = self.quantised(bits)
        before = model[0].weight.detach().clone()
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(60, 64, generator=generator)
        y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
        posterior = bayespeft.fit(
            model,
            (x, y),
            "bayes_rosa",
            adapter=LATENT,
            targets=["0"],
            train=TrainConfig(steps=40, lr=1e-2),
            progress=False,
        )
        assert posterior.history.records[-1].nll < posterior.history.records[0].nll
        assert torch.equal(model[0].weight, before)
        gradient = posterior.joint_guide.by_layer()["0"]
        assert len(gradient["index"]) == int(0.2 * 64 * 32)
        assert gradient["values"].any()
        assert torch.isfinite(posterior.predict(x, draws=3).log_probs).all()
        posterior.pruned(0.5).predict(x, draws=2)
        with pytest.raises(AttachError, match=r"layer '0' .*stores its weight as .*torch\.(uint8|int8)"):
            posterior.merged_model()


def test_scaled_values_are_the_same_change_in_other_units():
    from bayespeft.layers.layer import as_layer

    layer = as_layer("layer", torch.nn.Linear(6, 5))
    one, eighth = (SparseLowRank(r=2, density=0.3, mask="random", scale=scale) for scale in (1.0, 0.125))
    values = {name: factor.init for name, factor in one.factors(layer, torch.Generator().manual_seed(0)).items()}
    values["values"] = torch.randn(values["values"].shape, generator=torch.Generator().manual_seed(1))
    scaled = {**values, "values": 8 * values["values"]}
    torch.testing.assert_close(eighth.delta(scaled, layer), one.delta(values, layer))
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(2))
    found = eighth.apply({name: Shared(value) for name, value in scaled.items()}, x, layer.module(x), layer)
    torch.testing.assert_close(found, layer.module(x) + x @ one.delta(values, layer).T)
