"""What lies below the first adapted layer is the same for all draws: it is run once for a batch, not once for each draw.

The blocks below (the trunk) get one copy of the rows, and what the last of them gives is repeated for each draw of the pass;
later passes over the same batch don't run the trunk at all. Which tensors of a block's call have a row for each example is
found by running two batches of different sizes. That the outputs are those of repeating everything is shown on a few rows,
once for each network; where they aren't, or where no trunk can be told, everything is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from bayespeft.adapters.attach import MixedRowsError, blocks_of
from bayespeft.data.batch import Batch
from bayespeft.networks.configuration import is_encoder_decoder
from bayespeft.networks.forward import forwards_as_they_were
from bayespeft.variational.adapted import Adapted

# The network is tried on two batches of these sizes.
SIZES = (2, 3)
NEAR = 1e-4


# Gives the adapters the weights of so many of a pass's draws, folded over so many rows.
Bind = Callable[[int, int], None]


def same_outputs(found: Tensor, wanted: Tensor) -> bool:
    """Whether outputs, (rows, ...) each, differ by rounding alone: by no more than `NEAR` times the largest of at least 1."""
    size = float(wanted.abs().max().clamp_min(1))
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=0.0, atol=NEAR * size)


class _Unknown(Exception):
    """A block was called in a way that no batch before has shown."""


@dataclass
class _Plan:
    """What is known of a network.

    Attributes:
        follows: which tensors that a block is called with, or gives, have a row for each example, by block and kind of call.
        tries: how many more kinds of calls are looked into; none where the outputs were others than they should be.
    """

    follows: dict[object, list[bool]] = field(default_factory=dict)
    tries: int = 4


class Trunk:
    """The blocks of a network below its first adapted layer.

    Args:
        adapted: the network, its hooks switched on.
    """

    _known: ClassVar[WeakKeyDictionary[nn.Module, dict[object, _Plan]]] = WeakKeyDictionary()

    def __init__(self, adapted: Adapted) -> None:
        self._adapted = adapted
        self._blocks = blocks_below(adapted.model, [p.layer.name for p in adapted.attachment.placements])
        self._batch: Batch | None = None
        self._output: Any = None

    def part(self, batch: Batch, draws: int) -> float:
        """Return which part of all blocks `logits` would run on some draws of a batch; 1 where all of them."""
        if not self._blocks or (draws == 1 and batch is not self._batch):
            return 1.0
        below = len(self._blocks) / len(blocks_of(self._adapted.model))
        return 1 - below + (0 if batch is self._batch else below / draws)

    def logits(self, batch: Batch, draws: int, bind: Bind) -> Tensor | None:
        """Run several draws on a batch, the trunk at most once; None where that can't be done, or saves nothing.

        Args:
            batch: on the device.
            draws: of this pass, at least 1.
            bind: binds weights to the adapters.
        """
        if not self._blocks or (draws == 1 and batch is not self._batch):
            return None
        plan = self._plan(batch)
        if batch is not self._batch:
            self._batch, self._output = batch, None
        while plan.tries:
            bind(draws, len(batch))
            try:
                return self._run(batch, draws, plan.follows)
            except _Unknown:
                # Masks are left out where a batch needs none, for one.
                follows = self._proved(batch, bind) if len(plan.follows) < 100 else None
                plan.tries = 0 if follows is None else plan.tries - 1
                plan.follows |= follows or {}
            except MixedRowsError:
                plan.tries = 0
        return None

    def release(self) -> None:
        """Forget what the trunk gave for the last batch."""
        self._batch = self._output = None

    def _plan(self, batch: Batch) -> _Plan:
        """Return what is known of this network with adapters at these layers, called with such inputs."""
        names = tuple(batch.inputs) if not isinstance(batch.inputs, Tensor) else ()
        key = (len(self._blocks), type(self._adapted.likelihood), names)
        return self._known.setdefault(self._adapted.model, {}).setdefault(key, _Plan())

    def _proved(self, batch: Batch, bind: Bind) -> dict[object, list[bool]] | None:
        """Return which tensors of a call follow the examples; None if that can't be told, or changes what comes out."""
        some = [torch.linspace(0, len(batch) - 1, n).long().to(batch.index.device) for n in SIZES]
        found = []
        for rows in map(batch.rows, some):
            bind(1, len(rows))
            found.append(self._calls(rows))
        follows: dict[object, list[bool]] = {}
        for key, shapes in found[0].items():
            others = found[1].get(key)
            if others is None or any(a[1:] != b[1:] for a, b in zip(shapes, others, strict=True)):
                return None
            follows[key] = [a != b for a, b in zip(shapes, others, strict=True)]
        more = batch.rows(some[1])
        bind(2, len(more))
        wanted = self._adapted.likelihood.logits(self._adapted.model, more.repeat(2))
        kept, self._output = self._output, None
        try:
            logits = self._run(more, 2, follows)
        except Exception:  # whatever a network does with fewer rows than it expects: it is run as before
            return None
        finally:
            self._output = kept
        return follows if same_outputs(logits, wanted) else None

    def _calls(self, batch: Batch) -> dict[object, list[torch.Size]]:
        """Return the shapes of all tensors that each block is called with and gives, by block and kind of call."""
        found: dict[object, list[torch.Size]] = {}

        def note(number: int) -> Callable[..., None]:
            def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
                for side, what in (("in", (args, kwargs)), ("out", output)):
                    leaves, key, _ = _flat(number, side, what)
                    found[key] = [leaf.shape for leaf in leaves if isinstance(leaf, Tensor)]

            return hook

        with ExitStack() as stack:
            for number, block in enumerate(self._blocks):
                stack.callback(block.register_forward_hook(note(number), with_kwargs=True).remove)
            self._adapted.likelihood.logits(self._adapted.model, batch)
        return found

    def _run(self, batch: Batch, draws: int, follows: dict[object, list[bool]]) -> Tensor:
        """Run the network on rows that are repeated everywhere but in the trunk."""
        rows, last = len(batch), len(self._blocks) - 1

        def first_copy(number: int) -> Callable[..., Any]:
            def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                return _changed(number, "in", (args, kwargs), follows, lambda x: x[:rows])

            return hook

        def repeated(_: nn.Module, __: Any, output: Any) -> Any:
            if self._output is None:
                self._output = output
            return _changed(last, "out", output, follows, lambda x: x.repeat(draws, *[1] * (x.dim() - 1)))

        with ExitStack() as stack:
            if self._output is None:
                for number, block in enumerate(self._blocks):
                    stack.callback(block.register_forward_pre_hook(first_copy(number), with_kwargs=True).remove)
            else:
                stack.enter_context(replaced(self._blocks, self._output))
            stack.callback(self._blocks[-1].register_forward_hook(repeated).remove)
            return self._adapted.likelihood.logits(self._adapted.model, batch.repeat(draws))


def _flat(number: int, side: str, what: Any) -> tuple[list[Any], object, Any]:
    """Return all that is in nested containers, what tells such containers from others, and their structure."""
    leaves, structure = tree_flatten(what)
    return leaves, (number, side, str(structure), tuple(isinstance(leaf, Tensor) for leaf in leaves)), structure


def _changed(
    number: int, side: str, what: Any, follows: dict[object, list[bool]], change: Callable[[Tensor], Tensor]
) -> Any:
    """Return nested containers whose tensors that follow the examples are changed.

    Raises:
        _Unknown: it is not known which these are.
    """
    leaves, key, structure = _flat(number, side, what)
    if key not in follows:
        raise _Unknown
    known = iter(follows[key])
    changed = [change(leaf) if isinstance(leaf, Tensor) and next(known) else leaf for leaf in leaves]
    return tree_unflatten(changed, structure)


@contextmanager
def replaced(blocks: Sequence[nn.Module], output: Any) -> Iterator[None]:
    """Have blocks give what is known already, without running them."""
    with forwards_as_they_were(blocks):
        for block in blocks:
            block.forward = lambda *_, **__: output
        yield


def blocks_below(model: nn.Module, layers: Sequence[str]) -> list[nn.Module]:
    """Return the blocks below the first adapted layer: all of them where none has one; none where there is no one list."""
    if is_encoder_decoder(model):
        return []
    blocks = blocks_of(model)
    names = {id(module): name for name, module in model.named_modules()}
    adapted = [any(f"{layer}.".startswith(f"{names[id(block)]}.") for layer in layers) for block in blocks]
    outside = [layer for layer in layers if not any(f"{layer}.".startswith(f"{names[id(block)]}.") for block in blocks)]
    # Layers before the blocks would be run on one copy of the rows: embeddings come first in the order of modules.
    order = list(names.values())
    if blocks and any(order.index(layer) < order.index(names[id(blocks[0])]) for layer in outside):
        return []
    return blocks[: adapted.index(True)] if True in adapted else blocks
