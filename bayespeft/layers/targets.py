"""Which layers get an adapter: what `Targets` describes, and why what it describes may be none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from torch import nn

from bayespeft.config import Targets
from bayespeft.errors import ConfigError, TargetError
from bayespeft.layers.attention import query_and_value
from bayespeft.layers.layer import Layer, all_layers, block_of
from bayespeft.networks.embeddings import output_embedding
from bayespeft.utils.warned import warn


def _stacked(model: nn.Module) -> str:
    """Say after a space how much of a network is in stacks of matrices, as experts are stored; nothing if it is little."""
    stacks = {
        f"{name}.{part}".lstrip("."): (parameter, module)
        for name, module in model.named_modules()
        for part, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 3 and len(parameter) > 1 and not isinstance(module, nn.modules.conv._ConvNd)
    }
    share = sum(p.numel() for p, _ in stacks.values()) / max(1, sum(p.numel() for p in model.parameters()))
    if share < 0.01:
        return ""
    name, (parameter, module) = next(iter(stacks.items()))
    return (
        f" {share:.0%} of the network's numbers are in {len(stacks)} stacks of matrices, such as '{name}' "
        f"{tuple(parameter.shape)} of {type(module).__name__}, as experts of a mixture are stored: adapters are for linear "
        "layers and leave them as they are."
    )


def _summary(layers: dict[str, Layer]) -> str:
    """Name the candidates the way a user would write them: last parts of names, each with its count."""
    counts: dict[str, int] = {}
    for name in layers:
        last = name.rsplit(".", 1)[-1]
        counts[last] = counts.get(last, 0) + 1
    return ", ".join(f"{name} (x{count})" if count > 1 else name for name, count in sorted(counts.items())) or "none"


def _blocks(wanted: tuple[int, int] | None, layers: Mapping[str, Layer], network: str) -> range | None:
    """Return the blocks that `Targets.layers` names, counted from 0; None where it names none.

    Raises:
        TargetError: the network lacks one of them.
    """
    if wanted is None:
        return None
    count = 1 + max((block for name in layers if (block := block_of(name)) is not None), default=-1)
    first, last = (number + count if number < 0 else number for number in wanted)
    if not (0 <= first < count and 0 <= last < count):
        has = f"has {count} blocks, 0 to {count - 1}" if count else "has no block: no layer's name has a number in it"
        raise TargetError(f"targets: layers={wanted} names blocks that are not there: {network} {has}.")
    return range(first, last + 1)


def _by_names(names: Sequence[str], layers: dict[str, Layer], stacks: str) -> dict[str, Layer]:
    found: dict[str, Layer] = {}
    for wanted in names:
        matches = {name: layer for name, layer in layers.items() if name == wanted or name.endswith(f".{wanted}")}
        if not matches:
            raise TargetError(
                f"no linear layer is called {wanted!r}. Linear layers of this network: {_summary(layers)}.{stacks}"
            )
        found |= matches
    return {name: layer for name, layer in layers.items() if name in found}


def _by_structure(model: nn.Module, layers: dict[str, Layer]) -> dict[str, Layer]:
    names = query_and_value(model)
    found = {name: layer for name, layer in layers.items() if name in set(names)}
    if not found:
        raise TargetError(
            f"targets='auto' finds no block of attention with linear query and value projections in "
            f"{type(model).__name__}. Name the layers, as in targets=['...'], or use targets='all-linear'. Its linear "
            f"layers: {_summary(layers)}."
        )
    return found


def _by_pattern(pattern: str, layers: Mapping[str, Layer], what: str) -> dict[str, Layer]:
    """Return the layers whose whole name is, or matches, a pattern."""
    if pattern in layers:
        return {pattern: layers[pattern]}
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{what}: {pattern!r} is no regular expression ({error}).") from None
    return {name: layer for name, layer in layers.items() if compiled.fullmatch(name)}


def _without(found: dict[str, Layer], exclude: Sequence[str]) -> dict[str, Layer]:
    """Leave out the layers of these names, whole or last parts, or that match these patterns.

    Raises:
        TargetError: a name or pattern matches none of the layers.
        ConfigError: a pattern that can't be compiled.
    """
    left: set[str] = set()
    for pattern in exclude:
        matches = {name for name in found if name == pattern or name.endswith(f".{pattern}")}
        matches = matches or set(_by_pattern(pattern, found, "targets.exclude"))
        if not matches:
            names = sorted({name.rsplit(".", 1)[-1] for name in found})
            near = difflib.get_close_matches(pattern, [*names, *found], n=3, cutoff=0.5) or names
            raise TargetError(
                f"targets.exclude: {pattern!r} matches none of the {len(found)} layers that are selected. Near: "
                f"{', '.join(near)}. A name (whole, or its last part) or a regular expression for whole names is expected."
            )
        left |= matches
    return {name: layer for name, layer in found.items() if name not in left}


def find_layers(model: nn.Module, targets: Targets, taken: Sequence[str] = ()) -> list[Layer]:
    """Select the layers that `targets` describes, in the network's order.

    Args:
        model: the network.
        targets: see `Targets`.
        taken: names of layers that have something already (the head).

    Raises:
        TargetError: nothing is selected, or nothing is excluded (the message lists the candidates); or the network lacks a
            block that is named.
        ConfigError: a regular expression that can't be compiled.
    """
    layers = {name: layer for name, layer in all_layers(model).items() if name not in set(taken)}
    stacks = _stacked(model)
    if not layers:
        raise TargetError(f"{type(model).__name__} has no linear layer to adapt.{stacks}")
    chosen = targets.modules
    if isinstance(chosen, list):
        found = _by_names(chosen, layers, stacks)
    elif chosen == "auto":
        found = _by_structure(model, layers)
    elif chosen == "all-linear":
        output = output_embedding(model)
        found = {name: layer for name, layer in layers.items() if layer.module is not output}
        if stacks:
            warn(f"targets='all-linear' leaves layers out.{stacks}")
    else:
        found = _by_pattern(chosen, layers, "targets")
    found = _without(found, targets.exclude)
    blocks = _blocks(targets.layers, layers, type(model).__name__)
    kept = [layer for name, layer in found.items() if blocks is None or block_of(name) in blocks]
    if not kept:
        where = f" in layers {targets.layers[0]} to {targets.layers[1]}" if targets.layers else ""
        where += f" without {', '.join(targets.exclude)}" if targets.exclude else ""
        raise TargetError(f"targets={chosen!r}{where} selects no linear layer. Candidates: {_summary(layers)}.{stacks}")
    return kept
