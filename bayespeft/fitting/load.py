"""`load`: a saved posterior, onto the network that it was fitted on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import nn

from bayespeft.adapters.attach import Placement
from bayespeft.errors import BayesPeftError, CheckpointError, ConfigError
from bayespeft.fitting.assemble import merging
from bayespeft.fitting.stacking import blank_stacks
from bayespeft.io import checkpoint
from bayespeft.io.saved import Saved
from bayespeft.layers.fingerprint import check_fingerprint
from bayespeft.layers.layer import Layer, all_layers
from bayespeft.layers.network import bare
from bayespeft.networks.configuration import setting
from bayespeft.networks.vocabulary import reading
from bayespeft.posterior.fitted import CENTER, MERGED, centers_are_saved
from bayespeft.posterior.posterior import Posterior
from bayespeft.utils.annotations import ELSEWHERE, Reader
from bayespeft.utils.bounded import Bounded, TooLarge
from bayespeft.utils.checks import checked
from bayespeft.utils.randomness import seeded
from bayespeft.utils.threads import alone
from bayespeft.utils.warned import warn
from bayespeft.variational.joint_guide import JointGuide

# While a file is read, a tensor may be this many times as large as what the file holds: a covariance is larger than its factor.
_SLACK = 64


@checked
@alone()
def load(
    directory: str | os.PathLike[str],
    model: Annotated[nn.Module | None, ELSEWHERE] = None,
    *,
    tokenizer: Reader = None,
) -> Posterior:
    """Read a posterior that `Posterior.save` wrote, onto the base network that it was fitted on.

    The posterior's own files are checked, and so is the base: names, shapes, dtypes and each value of all tensors, which takes
    a second or less for each gigabyte; and the numbers, buffers and activations that it computes with besides. A tokenizer that
    reads otherwise than the fit's is warned of.

    Args:
        directory: where it was saved.
        model: the same base network, which must be passed: `bayespeft.from_pretrained` finds one by its name. Freshly made
            layers (a head, a pooler that the checkpoint lacks) may differ, since the posterior brings its own.
        tokenizer: for data that is still text.

    Raises:
        ConfigError: no network was passed. CheckpointError: files are missing or damaged, or the network is another one.
    """
    model = None if model is None else bare(model, sharded=True)
    tensors, settings = checkpoint.read(directory)
    saved = Saved.of(settings, directory)
    if model is None:
        raise ConfigError(
            f"a posterior is loaded onto its base network, here {saved.base.name!r}, which its files don't hold: pass it, "
            f"bayespeft.load({str(directory)!r}, model), or call bayespeft.from_pretrained({str(directory)!r}), which finds "
            "networks by their names."
        )
    layers = all_layers(model)
    missing = [name for name in saved.sites if name not in layers]
    if missing:
        raise CheckpointError(
            f"the saved posterior adapts layer '{missing[0]}', which {type(model).__name__} lacks; load the base that it "
            f"was fitted on ({saved.base.name})."
        )
    outputs = setting(model, "num_labels") or saved.classes
    if saved.likelihood.trains_head and saved.heads and outputs != saved.classes:
        raise CheckpointError(
            f"the posterior in '{directory}' is over {saved.classes} classes, and this network has {outputs} outputs: load it "
            f"with num_labels={saved.classes}."
        )
    try:
        saved.likelihood.check_outputs(saved.classes)
    except ConfigError as error:
        raise CheckpointError(f"the settings in '{directory}' can't be used: {error}") from None
    _check_fresh(saved, layers, directory)
    check_fingerprint(saved.base.fingerprint, model, exclude={*saved.heads, *saved.idle})
    if tokenizer is not None and saved.base.reading not in ("", own := reading(tokenizer)) and own:
        warn(
            f"this tokenizer gives texts other numbers than the one of the posterior in '{directory}' did (its vocabulary or "
            "its way of reading is another): predictions for texts may be wrong. Load the tokenizer of the base.",
        )
    placements = tuple(
        Placement(layers[name], adapter, name in saved.heads, saved.orders.get(name, "first"))
        for name, adapter in saved.sites.items()
    )
    changes, centers = _taken(tensors, MERGED), _taken(tensors, CENTER)
    joint_guide = _blank(saved, placements, tensors, model, directory)
    _check_tensors(joint_guide.state_dict(), tensors, directory)
    joint_guide.load_state_dict(tensors, strict=True)
    places = joint_guide.center_buffers() if centers_are_saved(placements) else {}
    _check_tensors(places, centers, directory, CENTER)
    for name, place in places.items():
        place.copy_(centers[name])
    merged = merging(model, placements)
    if (merged is None) != (saved.merged is None) or (merged is None and changes):
        which = "lacks" if merged is not None else "holds, and no adapter of it ever merges,"
        raise CheckpointError(f"the posterior in '{directory}' {which} what was merged into the network's weights.")
    if merged is not None and saved.merged is not None:
        # This comes last, because it may change the network.
        with merged.applied(layers.values()):
            merged.redo(changes, saved.merged, layers)
    return Posterior(
        model,
        saved.method,
        placements,
        joint_guide,
        saved.likelihood,
        saved.history,
        saved.classes,
        saved.seed,
        tokenizer,
        saved.temperature,
        merged,
        base=saved.base.fingerprint,
        idle=frozenset(saved.idle),
        columns=saved.columns,
        imported=saved.imported,
    )


def _check_fresh(saved: Saved, layers: Mapping[str, Layer], directory: Any) -> None:
    """Check that the layers whose values the base need not share are ones of which the posterior brings, or needs, none.

    Raises:
        CheckpointError: others are called so; the fingerprint would not be asked about them.
    """
    strange = [name for name in saved.heads if name not in saved.sites]
    strange += [name for name in saved.idle if name in saved.sites or name not in layers]
    if strange:
        raise CheckpointError(
            f"the settings in '{directory}' call '{strange[0]}' a freshly made layer, which it is not."
        )


def _blank(
    saved: Saved,
    placements: tuple[Placement, ...],
    tensors: Mapping[str, torch.Tensor],
    model: torch.nn.Module,
    directory: Any,
) -> JointGuide:
    """Return the joint guide that the settings describe, of any values.

    Raises:
        CheckpointError: it would be larger than the file's tensors are, whatever the settings ask for.
    """
    generator = torch.Generator().manual_seed(saved.seed)
    held = sum(value.numel() for value in tensors.values())
    # A decomposition works on a layer's weight, and a law of q on pairs of what it holds.
    largest = max(layer.in_features * layer.out_features for layer in (p.layer for p in placements))
    try:
        with seeded(saved.seed), Bounded(_SLACK * max(held, largest)):
            stacks = blank_stacks(placements, saved.method, generator)
            return JointGuide(stacks, saved.method.guide, generator, next(model.parameters()).device)
    except (TooLarge, OverflowError, RuntimeError, ValueError) as error:
        # torch has its own words for sizes that no number of 64 bits holds.
        if isinstance(error, BayesPeftError) or not (isinstance(error, TooLarge) or "overflow" in str(error).lower()):
            raise
        raise CheckpointError(
            f"the settings in '{directory}' ask for a tensor that is too large ({error}), where its file holds {held:,} "
            "numbers in all: they were changed, or belong to another file."
        ) from None


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
