"""`load`: a saved posterior, onto the network that it was fitted on."""

from __future__ import annotations

import os
from typing import Any

import torch

from bayespeft.adapters.attach import Placement
from bayespeft.errors import CheckpointError
from bayespeft.fitting.assemble import merging
from bayespeft.fitting.packing import blank_packs
from bayespeft.io import checkpoint
from bayespeft.io.saved import Saved
from bayespeft.layers.fingerprint import check_fingerprint
from bayespeft.layers.network import bare
from bayespeft.layers.sites import all_sites
from bayespeft.posterior.fitted import CENTER, MERGED, centers_are_saved
from bayespeft.posterior.posterior import Posterior
from bayespeft.utils.checks import Network, Tokenizer, checked
from bayespeft.utils.randomness import seeded
from bayespeft.utils.threads import alone
from bayespeft.variational.approximation import Approximation


@checked
@alone()
def load(directory: str | os.PathLike[str], model: Network, *, tokenizer: Tokenizer = None) -> Posterior:
    """Read a posterior that `Posterior.save` wrote, onto the base network that it was fitted on.

    Args:
        directory: where it was saved.
        model: the same base network; freshly made layers (a head, a pooler that the checkpoint lacks) may differ, since the
            posterior brings its own.
        tokenizer: for data that is still text.

    Raises:
        CheckpointError: files are missing or damaged, or the network is another one.
    """
    model = bare(model)
    tensors, settings = checkpoint.read(directory)
    saved = Saved.of(settings, directory)
    sites = all_sites(model)
    missing = [name for name in saved.sites if name not in sites]
    if missing:
        raise CheckpointError(
            f"the saved posterior adapts layer '{missing[0]}', which {type(model).__name__} lacks; load the base that it "
            f"was fitted on ({saved.base.name})."
        )
    outputs = getattr(getattr(model, "config", None), "num_labels", saved.classes)
    if saved.heads and outputs != saved.classes:
        raise CheckpointError(
            f"the posterior in '{directory}' is over {saved.classes} classes, and this network has {outputs} outputs: load it "
            f"with num_labels={saved.classes}."
        )
    check_fingerprint(saved.base.fingerprint, model, exclude={*saved.heads, *saved.idle})
    placements = tuple(
        Placement(sites[name], adapter, head=name in saved.heads) for name, adapter in saved.sites.items()
    )
    generator = torch.Generator().manual_seed(saved.seed)
    packs = blank_packs(placements, saved.method, generator)
    changes, centers = _taken(tensors, MERGED), _taken(tensors, CENTER)
    with seeded(saved.seed):
        approximation = Approximation(packs, saved.method.guide, generator, next(model.parameters()).device)
    _check_tensors(approximation.state_dict(), tensors, directory)
    approximation.load_state_dict(tensors, strict=True)
    places = approximation.center_buffers() if centers_are_saved(placements) else {}
    _check_tensors(places, centers, directory, CENTER)
    for name, place in places.items():
        place.copy_(centers[name])
    merged = merging(model, placements)
    if (merged is None) != (saved.merged is None):
        raise CheckpointError(f"the posterior in '{directory}' lacks what was merged into the network's weights.")
    if merged is not None and saved.merged is not None:
        # Last: it may change the network.
        with merged.applied(sites.values()):
            merged.redo(changes, saved.merged, sites)
    return Posterior(
        model,
        saved.method,
        placements,
        approximation,
        saved.likelihood,
        saved.history,
        saved.classes,
        saved.seed,
        tokenizer,
        saved.temperature,
        merged,
        base=saved.base.fingerprint,
        idle=frozenset(saved.idle),
    )


def _taken(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Take the tensors out whose names begin with a prefix, and return them without it."""
    return {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}


def _check_tensors(
    expected: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor], directory: Any, prefix: str = ""
) -> None:
    """Check that a file holds the tensors that are expected, in their shapes.

    Raises:
        CheckpointError: the message names the first that is missing, unknown or of another shape.
    """
    for name in sorted({*expected, *tensors}):
        if name not in tensors or name not in expected:
            which = "lacks" if name not in tensors else "has the unknown"
            raise CheckpointError(f"the posterior in '{directory}' {which} tensor '{prefix}{name}'.")
        if tensors[name].dtype != expected[name].dtype or not torch.isfinite(tensors[name]).all():
            raise CheckpointError(
                f"tensor '{prefix}{name}' in '{directory}' holds {tensors[name].dtype} where {expected[name].dtype} is "
                "needed, or values that are not finite."
            )
        if tensors[name].shape != expected[name].shape:
            raise CheckpointError(
                f"tensor '{prefix}{name}' in '{directory}' has shape {tuple(tensors[name].shape)}, this network needs "
                f"{tuple(expected[name].shape)}."
            )
