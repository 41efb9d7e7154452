"""What lies below the first adapted layer gives the same for an example in every epoch: it is run once, and its output is kept.

Of each example the last block of the trunk's output at its real tokens is kept, where there is room, beside the tokens it was
made of. A batch whose examples are all known, with these very tokens, is run from there on: the trunk's blocks give what is
kept, and zeros at padding. That the outputs are those of running everything is shown on the first batch of which that holds.

Nothing is kept where the trunk would not give the same again (dropout, weights of its own that are trained), somebody watches
its modules, or all examples would take more than a quarter of what is free, in memory and on disk; and all is forgotten where a
weight that is not above the trunk changes, or an example comes with other tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from bayespeft.adapters.attach import blocks_of
from bayespeft.data.batch import Batch
from bayespeft.data.columns import MASK, TOKENS
from bayespeft.likelihoods.label_tokens import OFFERED
from bayespeft.prediction.trunk import blocks_below, replaced, same_outputs
from bayespeft.training.kept_outputs import KeptOutputs, room_for
from bayespeft.variational.adapted import Adapted

T = TypeVar("T")


class KeptTrunk:
    """The trunk of an adapted network in training.

    Args:
        adapted: the network; each of its rows is an example.
        count: of examples.
    """

    def __init__(self, adapted: Adapted, count: int) -> None:
        self._model, self._count = adapted.model, count
        self._blocks = blocks_below(adapted.model, [p.layer.name for p in adapted.attachment.placements])
        # What each example was made of, and what the trunk gave for it.
        self._rows: dict[int, dict[str, Tensor]] = {}
        self._outputs: KeptOutputs | None = None
        self._structure: Any = None
        self._key: object = None
        self._proved = False
        self._on = bool(self._blocks)

    @property
    def learns(self) -> bool:
        """Whether another batch may add to what is kept."""
        return self._on and not (self._proved and len(self._rows) == self._count)

    def logits(self, batch: Batch, run: Callable[[], T]) -> T:
        """Return what `run()` gives, which runs the network on a batch once, without the trunk where that is known already."""
        if not self._on or not self._fits(batch):
            return run()
        key = self._state()
        if key != self._key:
            self._forget()
            self._key = key
        rows = batch.index.tolist()
        if any(row not in self._rows for row in rows):
            return self._noted(batch, rows, run)
        output = self._output(batch, rows)
        if output is None:  # an index is no name of an example, or inputs are random
            self._off()
            return run()
        with replaced(self._blocks, output):
            found = run()
        if not self._proved:
            self._proved = True
            wanted = run()
            pairs = zip(_tensors(found), _tensors(wanted), strict=True)
            if not all(same_outputs(a.detach(), b.detach()) for a, b in pairs):
                self._off()
            return wanted
        return found

    @property
    def _weights(self) -> list[Tensor]:
        """All weights that are not of blocks above the trunk."""
        above = {id(p) for block in blocks_of(self._model)[len(self._blocks) :] for p in block.parameters()}
        return [p for p in self._model.parameters() if id(p) not in above]

    def _off(self) -> None:
        self._on = False
        self._forget()

    def _forget(self) -> None:
        self._rows, self._outputs = {}, None

    def _fits(self, batch: Batch) -> bool:
        """Return whether the trunk would do the same with a batch's examples whenever they come, and nobody sees it."""
        inputs = batch.inputs
        if not isinstance(inputs, Mapping) or TOKENS not in inputs:
            return False
        shape = inputs[TOKENS].shape
        read = [value for name, value in inputs.items() if name != OFFERED]
        plain = len(shape) == 2 and shape[0] == len(batch) and all(value.shape == shape for value in read)
        modules = [module for block in self._blocks for module in block.modules()]
        return (
            plain
            and not any(module.training for module in modules)
            and not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
            and not any(weight.requires_grad for weight in self._weights)
        )

    def _state(self) -> object:
        """Return what tells weights, and the precision that they are run in, from others."""
        weights = self._weights
        device = weights[0].device.type
        versions = tuple((id(weight), 0 if weight.is_inference() else weight._version) for weight in weights)
        return versions, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

    def _noted(self, batch: Batch, rows: list[int], run: Callable[[], T]) -> T:
        """Run everything, and keep what the trunk gives."""
        seen: list[Any] = []
        handle = self._blocks[-1].register_forward_hook(lambda _, __, output: seen.append(output))
        try:
            found = run()
        finally:
            handle.remove()
        made: list[Any]
        made, form = tree_flatten(seen[0] if len(seen) == 1 else None)
        shape = _named(batch)[TOKENS].shape
        # Blocks that give their attention weights, too, give None where nobody asked for these.
        structure, leaves = (form, [leaf is None for leaf in made]), [leaf for leaf in made if leaf is not None]
        of_tokens = all(isinstance(leaf, Tensor) and leaf.dim() == 3 and leaf.shape[:2] == shape for leaf in leaves)
        if not leaves or not of_tokens or (self._structure is not None and structure != self._structure):
            self._off()
            return found
        self._structure = structure
        real = _real(batch)
        if self._outputs is None:
            each = sum(leaf[real].nbytes for leaf in leaves) / len(rows)
            self._outputs = room_for(each * self._count, real.device)
        try:
            for place, row in enumerate(rows):
                if self._outputs is not None:
                    self._outputs.keep(row, [leaf[place][real[place]].detach() for leaf in leaves])
                    self._rows[row] = {name: value[place][real[place]].clone() for name, value in _named(batch).items()}
        except OSError:  # the disk is full
            self._outputs = None
        if self._outputs is None:
            self._off()
        return found

    def _output(self, batch: Batch, rows: list[int]) -> Any:
        """Return what the trunk gives for a batch whose rows are known; None where one of them was another example."""
        real = _real(batch)
        known = [self._rows[row] for row in rows]
        if [len(found[TOKENS]) for found in known] != real.sum(1).tolist():
            return None
        for name, value in _named(batch).items():
            if not torch.equal(torch.cat([found[name] for found in known]), value[real]):
                return None
        assert self._outputs is not None
        leaves = []
        for parts in zip(*(self._outputs.of(row) for row in rows), strict=True):
            kept = torch.cat(parts).to(real.device)
            leaf = kept.new_zeros(*real.shape, kept.shape[-1])
            leaf[real] = kept
            leaves.append(leaf)
        form, absent = self._structure
        rest = iter(leaves)
        return tree_unflatten([None if nothing else next(rest) for nothing in absent], form)


def _real(batch: Batch) -> Tensor:
    """Return which tokens are none of padding, (n, T) bool."""
    inputs = _named(batch)
    return inputs[MASK].bool() if MASK in inputs else torch.ones_like(inputs[TOKENS], dtype=torch.bool)


def _named(batch: Batch) -> Mapping[str, Tensor]:
    """Return what the network reads of a batch, (n, T) each."""
    assert isinstance(batch.inputs, Mapping)
    return {name: value for name, value in batch.inputs.items() if name != OFFERED}


def _tensors(found: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(found)[0] if isinstance(leaf, Tensor)]
