"""Merging a draw into a network of its own."""

from __future__ import annotations

import pytest

from bayespeft.errors import AttachError
from tests.layers.merging import fit


def test_merging_a_draw_needs_a_weight_that_can_take_it(mlp, xy):
    posterior = fit(mlp, xy, "mle", adapter="lora")
    mlp[2].weight.data = mlp[2].weight.data.half()
    with pytest.raises(AttachError, match="float16"):
        posterior.merged_model()
