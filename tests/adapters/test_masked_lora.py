"""A mask over a LoRA's columns."""

from __future__ import annotations

import torch

from bayespeft.adapters.masked_lora import MaskedLora
from bayespeft.layers.weights import Shared, TokenFlipped
from tests.adapters.helpers import a_layer, random_values


def test_token_signs_of_a_mask_differ_from_token_to_token():
    layer, adapter = a_layer(5, 4), MaskedLora(r=2)
    values = random_values(adapter, layer)
    weights = {k: Shared(v) for k, v in values.items()}
    weights["z"] = TokenFlipped(torch.zeros(4).double(), torch.ones(4).double())
    x = torch.ones(1, 64, 4, dtype=torch.double)
    out = adapter.apply(weights, x, torch.zeros(1, 64, 5, dtype=torch.double), layer)[0]
    assert len(out.round(decimals=6).unique(dim=0)) > 8
