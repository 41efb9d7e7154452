"""Every registered adapter keeps the contract; a new file in the room is tested the day it appears."""

from __future__ import annotations

import pytest
import torch

from bayespeft import registry
from bayespeft.adapters import Adapter, Full, Head
from bayespeft.testing import AdapterContract


def adapter_of(name: str) -> Adapter:
    """With a rank that the smallest layer has."""
    cls = registry.get("adapters", name)
    options = {"r": 3, "unit": "steps"}  # an adapter that merges does so after the first step
    return cls(**{field: value for field, value in options.items() if field in cls.model_fields})


class TestAdapters(AdapterContract):
    @pytest.fixture(params=registry.names("adapters"))
    def subject(self, request) -> Adapter:
        return adapter_of(request.param)

    def values(self, adapter, layer, seed):
        """`delta` speaks of the weight only: with whole layers, the bias is to be the layer's own."""
        values = super().values(adapter, layer, seed)
        if isinstance(adapter, Full) and "b" in values:
            values["b"] = values["b"] + layer.bias() - adapter.layer(values)["b"]
        elif isinstance(adapter, Head):
            values["mean"] = torch.zeros_like(values["mean"])  # a layer without a bias has no place for it
        return values
