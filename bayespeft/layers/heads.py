"""Layers that are freshly made: the head of a new task, and what a checkpoint lacked inside its body.

They hold random numbers that no one else has, so they are trained along, whole, and saved with the posterior. What is fresh
is known by structure (what lies outside the pretrained body), by the marks that transformers leaves on parameters that it
loaded (5.0 and later), or, where there are none, by values: an untouched bias of zeros over weights of the initial spread.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bayespeft.layers.layer import Layer, all_layers
from bayespeft.networks.bodies import body_of, came_from_checkpoint, initial_spread, pretrained
from bayespeft.utils.sharded import whole
from bayespeft.utils.warned import warn

# Two spreads are the same up to this part of them.
_NEAR = 0.1


def find_head(model: nn.Module) -> list[Layer]:
    """Return the linear layers outside pretrained bodies: a classifier, and what lies between it and the body.

    Nothing for a network that is no model of transformers and holds none, and for language models, whose output layer is
    part of what was pretrained.
    """
    inside: set[int] = set()
    models = list(pretrained(model))
    for _, network in models:
        inside |= {id(module) for module in body_of(network).modules()}
    return [layer for layer in all_layers(model).values() if id(layer.module) not in inside] if models else []


def find_fresh(model: nn.Module) -> list[Layer]:
    """Return the head, and the linear layers inside the body that the checkpoint lacked, such as a pooler."""
    fresh = fresh_parameters(model)
    head = {layer.name for layer in find_head(model)}
    return [
        layer
        for layer in all_layers(model).values()
        if layer.name in head or (f"{layer.name}.weight" in fresh and not layer.packed)
    ]


def fresh_parameters(model: nn.Module) -> set[str]:
    """Return names of parameters in models of transformers that no checkpoint brought, as far as it can be told."""
    fresh: set[str] = set()
    for prefix, network in pretrained(model):
        own = dict(network.named_parameters())
        unmarked = {name for name, parameter in own.items() if not came_from_checkpoint(parameter)}
        found = unmarked if len(unmarked) < len(own) else _untouched(network)
        fresh |= {f"{prefix}{name}" for name in found}
    return fresh


def warn_of_random(model: nn.Module, known: Iterable[str]) -> None:
    """Warn of parameters that came from no checkpoint and are not trained.

    Args:
        model: the network.
        known: names of layers that are trained whole, or play no part.
    """
    bodies = {id(parameter) for _, network in pretrained(model) for parameter in body_of(network).parameters()}
    random = fresh_parameters(model)
    if bodies:
        random |= {
            name
            for name, parameter in model.named_parameters()
            # Scales and biases are made constant: those that are not have been trained.
            if id(parameter) not in bodies and parameter.dim() > 1 and not came_from_checkpoint(parameter)
        }
    whole = tuple(f"{name}." for name in known)
    left = [
        name
        for name, value in model.named_parameters()
        if name in random and not name.startswith(whole or ("\0",)) and not _constant(value)
    ]
    if left:
        more = f" and {len(left) - 1} more" if left[1:] else ""
        warn(
            f"'{left[0]}'{more} came from no checkpoint (it was missing there, resized, or made beside the pretrained body) "
            "and stays as it is. If it is random, the posterior is one over a network that is random in part, which no other "
            "session can load again: train it first, or save the network with save_pretrained and load it from there.",
        )


def _untouched(network: nn.Module) -> set[str]:
    """Return parameters of linear layers that look as they were made, in a network where most don't."""
    spread = initial_spread(network)
    with_bias = {
        name: layer
        for name, layer in all_layers(network).items()
        if not layer.packed and isinstance(layer.module.bias, Tensor)
    }
    zero = {name for name, layer in with_bias.items() if (bias := layer.bias()) is not None and not bias.any()}
    if not spread or 2 * len(zero) >= len(with_bias):
        return set()
    return {
        f"{name}.{part}"
        for name in zero
        for part in ("weight", "bias")
        if abs(whole(with_bias[name].parameter).float().std().item() / spread - 1) < _NEAR
    }


@torch.no_grad()
def _constant(value: Tensor) -> bool:
    """Whether all numbers are the same, as scales and biases are made."""
    if not value.numel() or value.is_meta:
        return True
    flat = whole(value).reshape(-1)
    return bool((flat == flat[0]).all())
