"""Pruning: the surest values stay."""

from __future__ import annotations

import copy
import math

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.sparse_low_rank import SparseLowRank
from bayespeft.errors import CheckpointError, ConfigError, GuideError
from bayespeft.guides.mean_field import MeanField

OPTIONS = {"targets": "all-linear", "progress": False}


LATENT = SparseLowRank(r=2, density=0.2, mask_steps=3, latent=("values",))


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
