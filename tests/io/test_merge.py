"""Merging a draw into a network of its own."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils import parametrizations, prune

from bayespeft.errors import AttachError
from tests.layers.merging import fit


def test_merging_a_draw_needs_a_weight_that_can_take_it(mlp, xy):
    posterior = fit(mlp, xy, "mle", adapter="lora")
    mlp[2].weight.data = mlp[2].weight.data.half()
    with pytest.raises(AttachError, match="float16"):
        posterior.merged_model()


@pytest.mark.parametrize(
    "computed",
    [
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        parametrizations.weight_norm,
        parametrizations.orthogonal,
    ],
    ids=["pruned", "weight norm", "orthogonal"],
)
@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_weight_that_is_computed_anew_in_each_pass_takes_no_merge(mlp, xy, computed, adapter):
    """What was added to it was gone after the next pass, and the merged network was another one, without a word."""
    computed(mlp[2])
    posterior = fit(mlp, xy, "mle", adapter=adapter)
    assert posterior.predict(xy, draws=0).probs.isfinite().all()
    with pytest.raises(AttachError, match=r"weight of layer '2' is computed.*prune\.remove.*remove_parametrizations"):
        posterior.merged_model()


def test_a_hook_that_somebody_has_on_a_layer_sees_what_the_changed_weight_gives(mlp, xy):
    """Behind the hook, the change would be added to what it made of the output, and a merged network would differ."""
    mlp[0].register_forward_hook(lambda layer, given, output: 2 * output)
    posterior = fit(mlp, xy, "mle", adapter="lora")
    expected = posterior.predict(xy, draws=0).probs.float()
    assert torch.allclose(posterior.merged_model()(xy[0]).softmax(-1), expected, atol=1e-5)
    assert torch.allclose(posterior.freeze(draws=0)(xy[0]).float(), expected, atol=1e-5)
