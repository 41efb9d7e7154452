"""The warm-up: gradients of the dense weight, after training, by each rule."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.sparse_low_rank import SparseLowRank, top_positions
from bayespeft.errors import AttachError, ConfigError
from bayespeft.layers.layer import all_layers

OPTIONS = {"targets": "all-linear", "progress": False}


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
        monkeypatch.setattr("bayespeft.layers.watched.free_memory", lambda device: 1000)
        with pytest.raises(AttachError, match=r"take \d,\d{3} bytes, and 1,000 are free.*mask='random'"):
            masks(mlp, xy, SparseLowRank(r=2, density=0.1))
