"""The scale s = alpha / r, which every adapter of r channels has from one place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bayespeft import registry
from bayespeft.adapters.low_rank import LowRank
from bayespeft.layers.layer import as_layer
from bayespeft.layers.weights import Shared

# A magnitude is divided by the norm of the scaled direction.
LINEAR = [
    name
    for name in registry.names("adapters")
    if issubclass(registry.get("adapters", name), LowRank) and name != "dora"
]


def test_all_that_have_an_alpha_share_it():
    settings = {name: registry.get("adapters", name) for name in registry.names("adapters")}
    assert {name for name, cls in settings.items() if "alpha" in cls.model_fields} == {*LINEAR, "dora"}


@pytest.mark.parametrize("name", LINEAR)
def test_the_change_is_in_proportion_to_alpha_over_r(name):
    generator = torch.Generator().manual_seed(0)
    layer = as_layer("layer", nn.Linear(5, 4))
    assert layer is not None
    settings = {"density": 0} if name == "sparse_low_rank" else {}
    changes = []
    for alpha in (3.0, 12.0):
        adapter = registry.get("adapters", name)(r=3, alpha=alpha, **settings)
        assert adapter.scaling == alpha / 3
        factors = adapter.factors(layer, torch.Generator().manual_seed(1))
        values = {
            key: torch.randn(factor.init.shape, generator=generator.manual_seed(2)) for key, factor in factors.items()
        }
        x, y = torch.randn(2, 5, generator=generator), torch.zeros(2, 4)
        changes.append(adapter.apply({key: Shared(value) for key, value in values.items()}, x, y, layer))
    assert changes[0].abs().max() > 0
    torch.testing.assert_close(changes[1], 4 * changes[0])
