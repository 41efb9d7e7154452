"""Whether a network's outputs are what its last layer gives, W x or W x + b, and nothing else: all other weights move x.

The last layer may be one that was trained before and is adapted: W0 x + b + B u, with u what the adapter's other factors make
of x. To first order the outputs then move by W0 dx + B du: by a layer (W0, B) that meets (x, u).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.adapters.low_rank import LowRank
from bayespeft.layers.layer import Layer
from bayespeft.layers.once import Once
from bayespeft.variational.adapted import Adapted

# Operations that show the same numbers in the same order.
SAME = ("ViewBackward0", "UnsafeViewBackward0", "AliasBackward0", "ReshapeAliasBackward0", "ToCopyBackward0")


@dataclass(frozen=True, slots=True)
class OutputLayer:
    """The last layer of a network.

    Attributes:
        weight: W, (K, n); (W0, B) of an adapted one.
        features: x (rows, n), with its graph; (x, u) of an adapted one.
        names: the stacks of W and, where there is one, b; that of B.
    """

    weight: Tensor
    features: Tensor
    names: frozenset[str]


@dataclass
class Call:
    """What a layer was called with, and gave before it was adapted, in the last pass; None before one.

    Attributes:
        layer: the layer.
        x: (rows, n), with its graph.
        y: (rows, m), with its graph.
    """

    layer: Layer
    x: Tensor | None = None
    y: Tensor | None = None

    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        """Take note: a forward hook."""
        x = args[0] if args else next(iter(kwargs.values()), None)
        vectors = isinstance(x, Tensor) and x.dim() == 2 and self.layer.fits(x, output)
        self.x, self.y = (x, output) if vectors and self.x is None else (None, None)


def last_factors(adapted: Adapted) -> dict[str, Layer]:
    """Return stacks of one B (K, r), of a change s B (...) of a layer of as many outputs as the network has, and that layer."""
    placed = {p.layer.name: p for p in adapted.attachment.placements}
    found = {}
    for stack in adapted.joint_guide.latent.stacks:
        placement = placed.get(stack.owners[0])
        if placement is None or len(stack.init) != 1 or not isinstance(placement.adapter, LowRank):
            continue
        if stack.factor == "B" and placement.layer.out_features == adapted.classes and len(stack.layers) == 1:
            found[stack.name] = placement.layer
    return found


@contextmanager
def calls(layers: Mapping[str, Layer]) -> Iterator[dict[str, Call]]:
    """Take note, inside the block, of what layers are called with and give, by the names of stacks."""
    with ExitStack() as stack:
        found = {name: Call(layer) for name, layer in layers.items()}
        for call in found.values():
            # It comes before the adapter's own hook.
            stack.callback(
                call.layer.module.register_forward_hook(call, with_kwargs=True, prepend=True).remove,
            )
        yield found


def output_layer(
    logits: Tensor, weights: Mapping[str, Once], adapted: Mapping[str, Call] | None = None
) -> OutputLayer | None:
    """Return the layer that outputs (rows, K) come from, by their graph; None where there is none, or n is not below K.

    Args:
        logits: with their graph.
        weights: those of output layers, by stack, that have met a vector of each example.
        adapted: of those that are an adapter's last factor, what the layer did before it was adapted.
    """
    if logits.dim() != 2:
        return None
    for name, call in (adapted or {}).items():
        if (found := _adapted_layer(logits, weights[name], call)) is not None:
            return found
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


def _adapted_layer(logits: Tensor, factor: Once, call: Call) -> OutputLayer | None:
    """Return the layer (W0, B) where outputs are what a layer gives, W0 x + b, and B u, of fewer vectors than outputs."""
    added = _origin(logits)
    if factor.gave is None or call.x is None or call.y is None or added is None or added.name() != "AddBackward0":
        return None
    assert factor.met is not None
    one, other = (_shown(node) for node, _ in added.next_functions)
    # What has no graph is the layer's own output: nothing below it is adapted.
    if added._saved_alpha != 1 or one is not _origin(call.y) or other is not factor.gave.grad_fn:
        return None
    weight = torch.cat([call.layer.matrix().float(), factor.value.float()], 1)
    if weight.shape[1] >= weight.shape[0] or call.layer.kind == "other":
        return None
    features = torch.cat([call.x.float(), factor.met.float()], 1)
    return OutputLayer(weight, features, frozenset({factor.name}))


def unless_identity(left: Tensor) -> Tensor | None:
    """Return derivatives (rows, C, m); None where each row's are the identity."""
    identity = torch.eye(left.shape[1], left.shape[2], dtype=left.dtype, device=left.device)
    return None if left.shape[1] == left.shape[2] and bool((left == identity).all()) else left


def _origin(value: Tensor) -> Any:
    """Return the operation that made a tensor, but for ones that show the same numbers in other ways."""
    return _shown(value.grad_fn)


def _shown(made: Any) -> Any:
    """Return the operation whose numbers another one shows in other ways."""
    while made is not None and made.name() in SAME:
        made = made.next_functions[0][0]
    return made
