"""A plain network with the adapters' changes in its own weights: no hooks, no posterior, one point."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bayespeft.adapters.attach import LayerWeights, Placement
from bayespeft.adapters.full import Full
from bayespeft.errors import CheckpointError
from bayespeft.io.directory import replacing
from bayespeft.layers.layer import all_layers
from bayespeft.layers.merged import Merged, as_base, check_untied
from bayespeft.layers.weights import plain
from bayespeft.utils.sharded import is_sharded


@torch.no_grad()
def merged_copy(
    model: nn.Module, placements: Sequence[Placement], weights: LayerWeights, merged: Merged | None
) -> nn.Module:
    """Return a copy of a network in which one draw of every adapter has become part of the weights.

    Args:
        model: the network, which stays as it is.
        placements: where adapters sit.
        weights: the draw, shared by all rows.
        merged: what was merged before.

    Raises:
        AttachError: a weight is quantised or in half precision, which would round the change away, it is shared with
            another module, or it is computed anew in each pass.
    """
    check_untied(model, [p.layer for p in placements])
    for placement in placements:
        placement.layer.check_kept()
        if placement.layer.packed or is_sharded(placement.layer.parameter) or not isinstance(placement.adapter, Full):
            placement.layer.check_mergeable()
    if merged is None:
        network = copy.deepcopy(model)
    else:
        with merged.applied([p.layer for p in placements]):
            network = copy.deepcopy(model)
    as_base(network)
    layers = all_layers(network)
    for placement in placements:
        layer = layers[placement.layer.name]
        module: Any = layer.module
        values = {name: value.to(layer.stored.device) for name, value in plain(weights[layer.name]).items()}
        if isinstance(placement.adapter, Full):
            # Values, not changes: a sum would round them.
            whole = placement.adapter.layer(values)
            layer.stored.copy_(whole["W"])
            if "b" in whole:
                module.bias.copy_(whole["b"])
        else:
            layer.stored.add_(placement.adapter.delta(values, placement.layer).to(layer.stored))
    return network.eval()


def write_merged(directory: str | os.PathLike[str], network: nn.Module, tokenizer: Any) -> None:
    """Write a network, and its tokenizer if there is one, as `from_pretrained` reads it; whole or not at all.

    Raises:
        CheckpointError: the network is none of transformers', or the directory is not empty.
    """
    save: Any = getattr(network, "save_pretrained", None)
    if save is None:
        raise CheckpointError(
            f"{type(network).__name__} has no save_pretrained: take posterior.merged_model() and save its state_dict."
        )
    if Path(directory).exists() and (not Path(directory).is_dir() or any(Path(directory).iterdir())):
        raise CheckpointError(f"'{directory}' is there and not empty, and might be a model: choose a new directory.")
    with replacing(directory, (), "a model") as fresh:
        save(fresh)
        if tokenizer is not None:
            tokenizer.save_pretrained(fresh)
