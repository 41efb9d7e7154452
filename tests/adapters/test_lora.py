"""LoRA with either factor latent, or both."""

from __future__ import annotations

import json

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.base import Adapter
from bayespeft.adapters.lora import Lora
from bayespeft.errors import GuideError
from bayespeft.layers.weights import Grouped, Shared
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
