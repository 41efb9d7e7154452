"""RoSA: masks, gradients on them, merged weights, and how it is fitted, pruned and put on a quantised base."""

from __future__ import annotations

import copy
import math
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.lora import Lora
from bayespeft.adapters.sparse_low_rank import SparseLowRank, top_positions
from bayespeft.errors import AttachError, CheckpointError, ConfigError, FitError, GuideError
from bayespeft.guides.mean_field import MeanField
from bayespeft.layers.factors import Factor, stack_factors
from bayespeft.layers.layer import all_layers
from bayespeft.layers.weights import Shared
from bayespeft.priors.flat import Flat
from tests.adapters.helpers import a_layer, random_values

OPTIONS = {"targets": "all-linear", "progress": False}
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


def masks(model, data, adapter: SparseLowRank, **train) -> dict[str, torch.Tensor]:
    posterior = bayespeft.fit(model, data, "mle", adapter=adapter, train=TrainConfig(steps=1, **train), **OPTIONS)
    return {name: values["index"] for name, values in posterior.joint_guide.by_layer().items()}


class TestWarmUp:
    def test_rules_agree_with_one_gradient_and_it_is_that_of_the_dense_weight(self, mlp, xy):
        adapter = SparseLowRank(r=2, density=0.1, mask_steps=0)
        squared = masks(mlp, xy, adapter, batch_size=60)
        mean = masks(mlp, xy, adapter.replace(mask="mean"), batch_size=60)
        absolute = masks(mlp, xy, adapter.replace(mask="mean_absolute"), batch_size=60)
        # B = 0 at the first step: the network is the base.
        loss = nn.functional.cross_entropy(mlp(xy[0]), xy[1])
        weights = {name: layer.module.weight for name, layer in all_layers(mlp).items()}
        for (name, weight), gradient in zip(
            weights.items(), torch.autograd.grad(loss, list(weights.values())), strict=True
        ):
            expected = top_positions(gradient.abs(), max(1, int(0.1 * weight.numel())))
            assert torch.equal(squared[name], expected)
            assert torch.equal(mean[name], expected)
            assert torch.equal(absolute[name], expected)

    def test_rules_differ_over_several_steps(self, mlp, xy):
        adapter = SparseLowRank(r=2, density=0.3, mask_steps=0, mask_gradients=8)
        found = [
            masks(mlp, xy, adapter.replace(mask=rule), batch_size=2)
            for rule in ("mean", "mean_squared", "mean_absolute")
        ]
        for one, other in combinations(found, 2):
            assert any(not torch.equal(one[name], other[name]) for name in one)

    @pytest.mark.parametrize(("steps", "gradients"), [(0, 1), (3, 1), (2, 4)])
    def test_gradients_are_looked_at_after_the_training_and_as_often_as_asked(
        self, mlp, xy, monkeypatch, steps, gradients
    ):
        """At a rate of zero and with all rows in a batch every step has the gradient of the base."""
        seen = {}

        def note(self, layer, total):
            seen[layer.name] = total.clone()
            return warmed_up(self, layer, total)

        warmed_up = SparseLowRank.warmed_up
        monkeypatch.setattr(SparseLowRank, "warmed_up", note)
        adapter = SparseLowRank(r=2, density=0.1, mask="mean", mask_steps=steps, mask_gradients=gradients)
        masks(mlp, xy, adapter, batch_size=60, lr=0)
        loss = nn.functional.cross_entropy(mlp(xy[0]), xy[1])
        for name, layer in all_layers(mlp).items():
            (gradient,) = torch.autograd.grad(loss, layer.module.weight, retain_graph=True)
            torch.testing.assert_close(seen[name], gradients * gradient, atol=1e-6, rtol=1e-4)

    def test_training_before_changes_the_gradients(self, mlp, xy):
        before, after = (
            masks(mlp, xy, SparseLowRank(r=2, density=0.2, mask_steps=steps), lr=0.1, batch_size=60)
            for steps in (0, 30)
        )
        assert any(not torch.equal(before[name], after[name]) for name in before)

    def test_sparse_alone_sees_gradients_of_the_base(self, mlp, xy):
        alone = masks(mlp, xy, SparseLowRank(r=0, density=0.1, mask_steps=0), batch_size=60)
        both = masks(mlp, xy, SparseLowRank(r=2, density=0.1, mask_steps=0), batch_size=60)
        assert all(torch.equal(alone[name], both[name]) for name in both)

    def test_steps_in_which_nothing_would_train_are_left_out(self, mlp, xy):
        waited, at_once = (
            masks(mlp, xy, SparseLowRank(r=0, density=0.1, mask_steps=steps, mask_gradients=2)) for steps in (4, 0)
        )
        assert all(torch.equal(waited[name], at_once[name]) for name in at_once)

    def test_training_starts_afresh(self, mlp, xy):
        adapter = SparseLowRank(r=2, density=0.1, mask_steps=5)
        posterior = bayespeft.fit(mlp, xy, "mle", adapter=adapter, train=TrainConfig(steps=1, lr=0), **OPTIONS)
        for values in posterior.joint_guide.by_layer().values():
            assert not values["B"].any()
            assert not values["values"].any()

    def test_recomputed_activations_and_networks_that_use_a_layer_twice_give_the_same_gradients(self, xy):
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

            def forward(self, x):
                return self.out(self.inner(torch.tanh(self.inner(x))))

        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Twice()
        found = masks(model, xy, SparseLowRank(r=2, density=0.2, mask_steps=0), batch_size=60)
        gradient = torch.autograd.grad(nn.functional.cross_entropy(model(xy[0]), xy[1]), model.inner.weight)[0]
        assert torch.equal(found["inner"], top_positions(gradient.abs(), 5))

    def test_recomputed_activations_give_the_same_mask(self, bert, sentences, tokenizer):
        adapter = SparseLowRank(r=2, density=0.05, mask_steps=2)
        found = [
            bayespeft.fit(
                bert, sentences, "mle", adapter=adapter, tokenizer=tokenizer, progress=False,
                train=TrainConfig(steps=1, checkpoint_activations=again),
            ).joint_guide.fixed()
            for again in (False, True)
        ]  # fmt: skip
        assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])

    def test_a_start_brings_its_mask_and_may_gain_latents(self, mlp, xy):
        adapter = SparseLowRank(r=2, density=0.1, mask_steps=2)
        start = bayespeft.fit(mlp, xy, "mle", adapter=adapter, train=TrainConfig(steps=5, batch_size=7), **OPTIONS)
        method = registry.get("methods", "bayes_rosa").replace(
            adapter=adapter.replace(latent=("values", "C")), train=TrainConfig(steps=1, lr=0, variational_lr=0)
        )
        posterior = bayespeft.fit(mlp, xy, method, start=start, train=TrainConfig(steps=1), progress=False)
        own, theirs = start.joint_guide.by_layer(), posterior.joint_guide.by_layer()
        for name in own:
            assert torch.equal(own[name]["index"], theirs[name]["index"])
            assert torch.equal(own[name]["values"], theirs[name]["values"])
        torch.testing.assert_close(posterior.predict(xy, draws=0).log_probs, start.predict(xy).log_probs)
        with pytest.raises(ConfigError, match="has the factor 'C'"):
            bayespeft.fit(mlp, xy, "bayes_rosa", start=posterior, train=TrainConfig(steps=1), progress=False)

    def test_a_network_too_large_for_the_accumulators_is_refused(self, mlp, xy, monkeypatch):
        monkeypatch.setattr("bayespeft.training.warmup.free_memory", lambda device: 1000)
        with pytest.raises(AttachError, match=r"take \d,\d{3} bytes, and 1,000 are free.*mask='random'"):
            masks(mlp, xy, SparseLowRank(r=2, density=0.1))


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


class TestPosterior:
    def fitted(self, mlp, xy, **fields):
        method = registry.get("methods", "bayes_rosa").replace(adapter=LATENT.replace(**fields))
        return bayespeft.fit(mlp, xy, method, train=TrainConfig(steps=20, lr=1e-2), **OPTIONS)

    @pytest.mark.parametrize("noise", ["batch", "example", "flipout"])
    def test_fits_in_each_noise_mode(self, noise, mlp, xy):
        method = registry.get("methods", "bayes_rosa").replace(adapter=LATENT, guide=MeanField(noise=noise))
        posterior = bayespeft.fit(mlp, xy, method, train=TrainConfig(steps=3), **OPTIONS)
        assert torch.isfinite(posterior.predict(xy, draws=3).log_probs).all()

    def test_signs_for_each_token_are_refused(self, mlp, xy):
        method = registry.get("methods", "bayes_rosa").replace(adapter=LATENT, guide=MeanField(noise="token"))
        with pytest.raises(GuideError, match="sign for each token and each non-zero"):
            bayespeft.fit(mlp, xy, method, train=TrainConfig(steps=3), **OPTIONS)

    def test_folded_draws_are_the_single_draws(self, mlp, xy):
        posterior = self.fitted(mlp, xy, latent=("values", "C"))
        together, alone = (posterior.predict(xy, draws=6, draws_per_pass=size).log_probs for size in (6, 1))
        torch.testing.assert_close(together, alone)

    def test_save_and_load(self, mlp, xy, tmp_path):
        posterior = self.fitted(mlp, xy)
        posterior.save(tmp_path / "out")
        loaded = bayespeft.load(tmp_path / "out", copy.deepcopy(mlp))
        assert torch.equal(loaded.predict(xy, draws=3).log_probs, posterior.predict(xy, draws=3).log_probs)
        fixed = loaded.joint_guide.fixed()
        assert {value.dtype for value in fixed.values()} == {torch.int64}
        with pytest.raises(CheckpointError, match="LoRA"):
            posterior.export_peft(tmp_path / "lora")

    def test_summary_and_covariance_know_it(self, mlp, xy):
        posterior = self.fitted(mlp, xy)
        row = posterior.summary().layers[0]
        assert set(row.norms) == {"A", "B"}
        assert row.random == 12
        covariance = posterior.weight_covariance("0")
        values = posterior.joint_guide.by_layer()["0"]
        stack = next(p for p in posterior.joint_guide.stacks if p.factor == "values" and "0" in p.layers)
        std = posterior.joint_guide.latent.std()[stack.name][stack.rows["0"]].detach()
        expected = torch.zeros(12 * 5).scatter(0, values["index"], std).reshape(12, 5)
        assert covariance.exact
        torch.testing.assert_close(covariance.std().float(), expected)

    def test_learning_rates_of_single_factors(self, mlp, xy):
        train = TrainConfig(steps=3, factor_lr={"values": 0.0, "nothing": 1.0})
        posterior = bayespeft.fit(mlp, xy, "mle", adapter=LATENT.replace(latent=()), train=train, **OPTIONS)
        for values in posterior.joint_guide.by_layer().values():
            assert not values["values"].any()
            assert values["B"].any()


class TestPruning:
    @pytest.mark.parametrize("keep", [0.01, 0.25, 1.0])
    def test_the_surest_values_stay_and_nothing_else(self, keep, mlp, xy, tmp_path):
        posterior = TestPosterior().fitted(mlp, xy)
        before = posterior.joint_guide.state_dict()
        pruned = posterior.pruned(keep)
        old, new = posterior.joint_guide.by_layer(), pruned.joint_guide.by_layer()
        stds = [
            {layer: p.joint_guide.latent.std()[stack.name][row] for stack in p.joint_guide.stacks
             if stack.factor == "values" for layer, row in stack.rows.items()}
            for p in (posterior, pruned)
        ]  # fmt: skip
        ratios = {s: old[s]["values"].abs() / stds[0][s] for s in old}
        total = sum(len(ratio) for ratio in ratios.values())
        threshold = torch.cat(list(ratios.values())).sort(descending=True).values[max(1, round(keep * total)) - 1]
        for layer in old:
            stay = ratios[layer] >= min(threshold, ratios[layer].max())
            assert torch.equal(new[layer]["index"], old[layer]["index"][stay])
            assert torch.equal(new[layer]["values"], old[layer]["values"][stay])
            torch.testing.assert_close(stds[1][layer], stds[0][layer][stay])
            assert torch.equal(new[layer]["B"], old[layer]["B"])
        kept = sum(len(values["values"]) for values in new.values())
        assert max(1, round(keep * total)) <= kept <= max(1, round(keep * total)) + len(old) - 1
        assert all(torch.equal(before[k], v) for k, v in posterior.joint_guide.state_dict().items())
        pruned.save(tmp_path / "out")
        loaded = bayespeft.load(tmp_path / "out", copy.deepcopy(mlp))
        found = pruned.predict(xy, draws=3).log_probs
        assert torch.equal(loaded.predict(xy, draws=3).log_probs, found)
        if keep == 1.0:
            assert torch.equal(found, posterior.predict(xy, draws=3).log_probs)

    def test_what_can_not_be_pruned_is_refused(self, mlp, xy):
        options = {**OPTIONS, "train": TrainConfig(steps=2)}
        for guide, adapter, error, message in (
            ("melora", None, ConfigError, "no adapter of this posterior has sparse values"),
            ("mle", LATENT, GuideError, "no independent standard deviations"),
            ("melora_full", LATENT, GuideError, "no independent standard deviations"),
            ("bayes_rosa", LATENT.replace(latent=("C",)), GuideError, "no independent standard deviations"),
        ):
            with pytest.raises(error, match=message):
                bayespeft.fit(mlp, xy, guide, adapter=adapter, **options).pruned(0.5)
        posterior = bayespeft.fit(mlp, xy, "bayes_rosa", adapter=LATENT, **options)
        for keep in (0, 1.5, math.nan):
            with pytest.raises(ConfigError, match=r"above 0 and at most 1|finite number"):
                posterior.pruned(keep)


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
        with pytest.raises(AttachError, match=r"layer '0' stores its weight as torch\.(uint8|int8)"):
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
