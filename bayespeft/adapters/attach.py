"""Hooks on, hooks off, bind a draw. The network's modules, weights and state-dict keys stay as they are.

A forward hook sees a layer's input and output, whatever class the layer is, and leaves with `handle.remove()`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from bayespeft.adapters.base import Adapter
from bayespeft.errors import AttachError
from bayespeft.layers.layer import Layer
from bayespeft.layers.merged import Merged
from bayespeft.layers.network import eager
from bayespeft.layers.rows import Order, as_it_was, by_example
from bayespeft.layers.weights import Weight
from bayespeft.networks.configuration import cache_as_it_was
from bayespeft.networks.forward import forwards_as_they_were

LayerWeights = Mapping[str, Mapping[str, Weight]]


@dataclass(frozen=True, slots=True)
class Placement:
    """An adapter at a layer.

    Attributes:
        head: the layer is freshly made (a head, or what else a checkpoint lacked), and trained whole.
        order: in which order the layer has the rows of a batch's examples.
    """

    layer: Layer
    adapter: Adapter
    head: bool = False
    order: Order = "first"


class MixedRowsError(AttachError):
    """A layer's rows can't be told apart, so that all of a pass must have one draw."""


class _Hook:
    """Adapts one layer's output while weights are bound; an object, so that deepcopy copies it."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.place = os.getpid(), threading.get_ident(), threading.current_thread().name
        self.weights: Mapping[str, Weight] | None = None
        self.fired = 0
        self.ran = False

    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        # A graph that counted its runs would be compiled anew for each of them.
        if not torch.compiler.is_compiling():
            self.fired += 1
        self.ran = True
        if self.weights is None:
            return output
        x = args[0] if args else next(iter(kwargs.values()))
        adapter, layer, order = self.placement.adapter, self.placement.layer, self.placement.order
        if not layer.fits(x, output):
            got, gave = (getattr(some, "shape", type(some).__name__) for some in (x, output))
            raise AttachError(
                f"layer '{layer.name}' ({type(layer.module).__name__}) makes {gave} of {got}, and is no map of "
                f"{layer.in_features} numbers to {layer.out_features} (a router to experts is none, though its class may stem "
                "from a linear layer): leave it out of targets=, as with exclude=."
            )
        examples = next((weight.rows for weight in self.weights.values() if weight.rows is not None), None)
        if examples is None:
            return adapter.apply(self.weights, x, output, layer)
        own, given = by_example(x, order, examples), by_example(output, order, examples)
        if own is None or given is None:
            raise MixedRowsError(
                f"layer '{layer.name}' got an input of {len(x)} rows in a batch of {examples}, so it can't be told which row "
                "belongs to which example (tokens are routed, or packed without their padding, examples are sorted, or the "
                "layer serves something else besides). Leave it out of targets=, or take a guide with noise='batch'; where "
                "draws_per_pass= was given, leave that out."
            )
        return as_it_was(adapter.apply(self.weights, own, given, layer), order, output.shape)


class Attachment:
    """Adapters on a network, for the length of a `with` block.

    Inside the block, `bind` sets the weights of the next forward passes. They stay bound until the next `bind`, so
    that a backward pass that recomputes activations meets the same draw, and are dropped when the block ends: a live
    draw must not outlast it, since a network that holds one can't be copied.

    Attributes:
        merged: what was, and will be, merged into the layers' own weights; None where the adapters never merge.
    """

    def __init__(self, placements: Sequence[Placement], merged: Merged | None = None) -> None:
        self.merged = merged
        names = [placement.layer.name for placement in placements]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise AttachError(f"layer '{twice[0]}' would get two adapters; select each layer once.")
        self._hooks = {placement.layer.name: _Hook(placement) for placement in placements}
        self._handles: list[RemovableHandle] = []
        self._context = ExitStack()

    @property
    def placements(self) -> list[Placement]:
        """The adapters, layer by layer."""
        return [hook.placement for hook in self._hooks.values()]

    def __enter__(self) -> Attachment:
        self._context.enter_context(eager())
        if self.merged is not None:
            self._context.enter_context(self.merged.applied([p.layer for p in self.placements]))
        for hook in self._hooks.values():
            module = hook.placement.layer.module
            # Hooks that somebody else has on a layer see what its changed weight gives, as they would once that is merged.
            self._handles.append(module.register_forward_hook(hook, with_kwargs=True, prepend=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._context.close()
        self.bind({})

    def bind(self, weights: LayerWeights) -> None:
        """Set the weights of each layer; a layer that is not named passes the network's own output."""
        for name, hook in self._hooks.items():
            hook.weights = weights.get(name)
            hook.ran = False

    @contextmanager
    def unbound(self) -> Iterator[None]:
        """Have every layer pass the network's own output inside the block, and what it passed before behind it."""
        before = [(hook, hook.weights, hook.ran) for hook in self._hooks.values()]
        try:
            self.bind({})
            yield
        finally:
            for hook, weights, ran in before:
                hook.weights, hook.ran = weights, ran

    def check_ran(self) -> None:
        """Check that a forward pass since the last `bind` met the adapters.

        Raises:
            AttachError: none of them ran, so the output is that of the network without them.
        """
        if self._hooks and not any(hook.ran for hook in self._hooks.values()):
            raise AttachError(
                f"none of the {len(self._hooks)} adapted layers ran in this pass, so the output would be that of the network "
                "without its adapters: something runs in their place that was made without them (a graph, an exported or "
                "replaced forward). Take it off the network, or fit the network anew as it is."
            )

    @contextmanager
    def counting(self) -> Iterator[dict[str, int]]:
        """Count how often each hook fires inside the block."""
        before = {name: hook.fired for name, hook in self._hooks.items()}
        counts: dict[str, int] = {}
        yield counts
        counts.update({name: hook.fired - before[name] for name, hook in self._hooks.items()})


def check_unadapted(model: nn.Module) -> None:
    """Check that no adapter is at work on a network, whose output or weights would then be counted as the network's own.

    Raises:
        AttachError: one is; the message names its layer.
    """
    for name, module in model.named_modules():
        hook = next((hook for hook in module._forward_hooks.values() if isinstance(hook, _Hook)), None)
        if hook is not None:
            raise AttachError(f"layer '{name}' carries an adapter already: {_remedy(*hook.place)}")


def is_watched(module: nn.Module) -> bool:
    """Whether somebody else than an adapter sees what a module is given, or gives."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return any(not isinstance(hook, _Hook) for hook in hooks)


def _remedy(process: int, thread: int, name: str) -> str:
    """Return how to do without the adapter that a thread of a process has at work."""
    if process != os.getpid():
        return (
            "this process was forked while it was at work. Fork where no posterior is in use, or start it with 'spawn'."
        )
    if thread != threading.get_ident():
        return (
            f"thread '{name}' is inside a `with posterior.using(...)` block. Wait until it has left it, or give each thread a "
            "network of its own, such as posterior.merged_model()."
        )
    return "leave the `with posterior.using(...)` block, or that of an adaptation, first (detach() ends it, too)."


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Switch the gradients of a network's own parameters off, and back to what they were."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)


@contextmanager
def mode(model: nn.Module, *, dropout: bool = False, keep_cache: bool = False) -> Iterator[None]:
    """Put a network into evaluation mode, without a key-value cache; at the end everything is as it was.

    Args:
        model: the network.
        dropout: training mode instead, except for batch normalisation, whose running statistics belong to the base.
        keep_cache: leave the key-value cache as the network's configuration says.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        with cache_as_it_was(model, off=not keep_cache):
            set_mode(model, dropout=dropout)
            yield
    finally:
        for module, training in before:
            module.training = training


def set_mode(model: nn.Module, *, dropout: bool) -> None:
    """Put a network into the mode that `mode` says."""
    model.train(dropout)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
        elif hasattr(module, "support_avx512bf16_for_cpu"):
            # In evaluation mode bitsandbytes repacks a 4-bit weight for a kernel without a backward pass.
            module.training = True


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the repeated blocks of a network: the members of its outermost lists of several modules of one class."""
    for module in model.children():
        if (
            isinstance(module, (nn.ModuleList, nn.Sequential))
            and len(module) > 1
            and len({type(m) for m in module}) == 1
        ):
            return list(module)
    return [block for module in model.children() for block in blocks_of(module)]


@contextmanager
def recomputing(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Recompute the activations of each repeated block in the backward pass: less memory, about a third more time.

    Done here and not by the network's own switch, which only works in training mode, dropout and all.

    Raises:
        AttachError: the network has no repeated blocks.
    """
    blocks = blocks_of(model) if wanted else []
    if wanted and not blocks:
        raise AttachError(
            f"{type(model).__name__} has no list of repeated blocks whose activations could be recomputed; set "
            "checkpoint_activations=False, or lower batch_size and raise accumulate."
        )
    with forwards_as_they_were(blocks):
        for block in blocks:
            # Not re-entrant: the re-entrant kind cuts gradients where no input of a block requires one (a frozen base).
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        yield
