"""Whether a network's outputs are what its last layer gives, W x or W x + b, and nothing else: all other weights move x."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayespeft.layers.once import Once

# Operations that show the same numbers in the same order.
SAME = ("ViewBackward0", "UnsafeViewBackward0", "AliasBackward0", "ReshapeAliasBackward0", "ToCopyBackward0")


@dataclass(frozen=True, slots=True)
class OutputLayer:
    """The last layer of a network.

    Attributes:
        weight: W, (K, n).
        features: x (rows, n), with its graph.
        names: the stacks of W and, where there is one, b.
    """

    weight: Tensor
    features: Tensor
    names: frozenset[str]


def output_layer(logits: Tensor, weights: Mapping[str, Once]) -> OutputLayer | None:
    """Return the layer that outputs (rows, K) come from, by their graph; None where there is none, or n is not below K.

    Args:
        logits: with their graph.
        weights: those of output layers, by stack, that have met a vector of each example.
    """
    if logits.dim() != 2:
        return None
    met = {name: weight for name, weight in weights.items() if weight.gave is not None}
    came, names = _origin(logits), set()
    for name, weight in met.items():
        if weight.value.dim() == 1 and weight.gave is not None and weight.gave.grad_fn is came is not None:
            assert weight.met is not None
            came, names = _origin(weight.met), {name}
            break
    for name, weight in met.items():
        if weight.value.dim() == 2 and weight.gave is not None and weight.gave.grad_fn is came is not None:
            assert weight.met is not None
            if weight.value.shape[1] >= logits.shape[1]:
                return None
            return OutputLayer(weight.value.float(), weight.met, frozenset({*names, name}))
    return None


def unless_identity(left: Tensor) -> Tensor | None:
    """Return derivatives (rows, C, m); None where each row's are the identity."""
    identity = torch.eye(left.shape[1], left.shape[2], dtype=left.dtype, device=left.device)
    return None if left.shape[1] == left.shape[2] and bool((left == identity).all()) else left


def _origin(value: Tensor) -> Any:
    """Return the operation that made a tensor, but for ones that show the same numbers in other ways."""
    made = value.grad_fn
    while made is not None and made.name() in SAME:
        made = made.next_functions[0][0]
    return made
