"""Which of the layers that were found play a part in a forward pass: a network may hold some that its data never reach."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bayespeft.config import Targets
from bayespeft.errors import AttachError
from bayespeft.layers.layer import Layer
from bayespeft.layers.watched import noting
from bayespeft.utils.warned import warn


def playing(layers: list[Layer], targets: Targets, run: Callable[[], Tensor]) -> list[Layer]:
    """Leave out layers that play no part in a forward pass, where `targets` says what to look for ("auto", "all-linear").

    Such are the cross-attention of a decoder that has no encoder, and what reads images in a network that is given texts. One
    warning names them. A layer whose like in another block, or of another expert, runs is no such: other rows may come to it.
    Layers that somebody named are taken as they are, and so are all where none runs: whoever puts adapters on them says what
    is wrong.

    Args:
        layers: that were selected.
        targets: by what.
        run: runs the network on some data, and returns its output.
    """
    if targets.modules not in ("auto", "all-linear"):
        return layers
    ran = running(layers, run)
    alike = {_kind(name) for name in ran}
    idle = [layer.name for layer in layers if _kind(layer.name) not in alike]
    if not ran or not idle:
        return layers
    warn(
        f"targets={targets.modules!r} leaves out '{idle[0]}'{f' and {len(idle) - 1} more' if idle[1:] else ''}, which never "
        "ran as linear maps in a pass over the first rows: parts for an encoder or other inputs, that these data do not use, "
        "or routers. Exclude them in Targets(exclude=...) to say so yourself.",
    )
    return [layer for layer in layers if _kind(layer.name) in alike]


def running(layers: Sequence[Layer], run: Callable[[], Tensor]) -> set[str]:
    """Return the names of those layers that run as modules in a forward pass, `run`, of the network."""
    with torch.no_grad(), noting(layers) as ran:
        run()
    return ran


def in_use(layers: Sequence[Layer], run: Callable[[], Tensor]) -> list[Layer]:
    """Return those layers that run in a forward pass; the others play no part in it.

    Args:
        layers: the layers.
        run: runs the network and returns its output.

    Raises:
        AttachError: a layer does not run as a module, and the output depends on its weight all the same.
    """
    ran = running(layers, run)
    if direct := _used_directly([layer for layer in layers if layer.name not in ran], run):
        raise AttachError(
            f"the freshly made layer '{direct}' never runs as a module, but its weight is used directly, so that it can't be "
            "trained: have the network call the layer."
        )
    return [layer for layer in layers if layer.name in ran]


def _used_directly(layers: Sequence[Layer], run: Callable[[], Tensor]) -> str | None:
    """Return the first of these layers whose weight the output depends on."""
    layers = [layer for layer in layers if not layer.packed]
    if not layers:
        return None
    switches = [layer.parameter.requires_grad for layer in layers]
    try:
        for layer in layers:
            layer.parameter.requires_grad_(True)
        with torch.enable_grad():
            output = run()
            weights = [layer.parameter for layer in layers]
            if not output.requires_grad:
                return None
            gradients = torch.autograd.grad(output.sum(), weights, allow_unused=True)
    finally:
        for layer, switch in zip(layers, switches, strict=True):
            layer.parameter.requires_grad_(switch)
    used = (layer.name for layer, gradient in zip(layers, gradients, strict=True) if gradient is not None)
    return next(used, None)


def _kind(name: str) -> str:
    """Return a layer's name without the numbers of its block and expert."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", name)
