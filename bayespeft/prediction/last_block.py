"""Where outputs are read from one position, the last block's maps of single tokens are run there, and not at all others.

A classifier may read what the last block gives for the first token, a language model that answers the one for the last token.
Attention of the last block needs all tokens; what comes behind it (its output layer, the block's two or three wide layers) maps
each token by itself. Layers whose input is cut to the one position give one vector, and adding it to all positions is right
where it counts. Which position is read, and which layers may be cut, is found on two rows, once for each network: all other
positions of the block's output are changed, and then each layer is cut in turn; the outputs are to stay the same, and not to
where the position itself is changed. Batches in which a row has padding at that position are run as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import blocks_of, is_watched
from bayespeft.data.batch import Batch
from bayespeft.data.columns import MASK, TOKENS
from bayespeft.layers.layer import all_layers
from bayespeft.layers.one_position import FIRST, LAST, changed_elsewhere, cut, noted, of_tokens
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.networks.configuration import is_encoder_decoder
from bayespeft.prediction.trunk import same_outputs
from bayespeft.variational.adapted import Adapted


@dataclass(frozen=True, slots=True)
class _Plan:
    """Layers (their modules) of the last block that are run at one position, `FIRST` or `LAST`."""

    position: int
    cut: list[nn.Module]


class LastBlock:
    """The last block of an adapted network.

    Args:
        adapted: the network, its hooks switched on.
    """

    _known: ClassVar[WeakKeyDictionary[nn.Module, dict[object, _Plan | None]]] = WeakKeyDictionary()

    def __init__(self, adapted: Adapted) -> None:
        self._adapted = adapted
        blocks = [] if is_encoder_decoder(adapted.model) else blocks_of(adapted.model)
        self._block = blocks[-1] if blocks else None

    @contextmanager
    def at_what_is_read(self, batch: Batch) -> Iterator[None]:
        """Run the last block at the position that is read, inside the `with` block.

        Not where its layers are watched, would drop other numbers than they do now, or are run again behind the `with` block.

        Args:
            batch: on the device; it, or repeats of it, is what is run.
        """
        with ExitStack() as stack:
            plan = self._plan(batch)
            if plan is not None and _is_real(batch, plan.position):
                for module in plan.cut:
                    stack.callback(cut(module, plan.position))
            yield

    def _plan(self, batch: Batch) -> _Plan | None:
        """Return what is known of the network, called with such inputs; what is not is found."""
        inputs = batch.inputs
        if self._block is None or not isinstance(inputs, Mapping) or inputs.get(TOKENS, batch.index).dim() != 2:
            return None
        if inputs[TOKENS].shape[1] < 3 or any(
            module.training or is_watched(module) or "forward" in vars(module) for module in self._block.modules()
        ):
            return None
        model, likelihood = self._adapted.model, self._adapted.likelihood
        found = self._known.setdefault(model, {})
        weight = next(model.parameters())
        key = type(likelihood), tuple(inputs), weight.dtype, torch.is_autocast_enabled(weight.device.type)
        if key not in found and len(whole := _without_padding(batch)):
            try:
                with torch.no_grad(), self._adapted.attachment.unbound():
                    found[key] = self._found(batch.rows(whole[[0, -1]]))
            except Exception:  # whatever a network does with fewer tokens than it expects: all are run
                found[key] = None
        return found.get(key)

    def _found(self, batch: Batch) -> _Plan | None:
        """Find position and layers on two rows."""
        assert self._block is not None
        with noted(self._block) as calls:
            wanted = self._logits(batch)
        assert isinstance(batch.inputs, Mapping)
        if len(calls) != 1 or of_tokens(calls[0][2]).shape[:2] != batch.inputs[TOKENS].shape:
            return None
        # A network's own head may look for the last token by its number, which two rows do not tell.
        for position in (FIRST, LAST) if isinstance(self._adapted.likelihood, LabelTokens) else (FIRST,):
            with changed_elsewhere(self._block, position):
                alone = same_outputs(self._logits(batch), wanted)
            # Outputs that no position changes, as those of a head of zeros, do not tell what a trained head will read.
            with changed_elsewhere(self._block, LAST if position == FIRST else FIRST):
                read = not same_outputs(self._logits(batch), wanted)
            if alone and read:
                args, kwargs, output = calls[0]
                layers = self._may_be_cut(args, kwargs, of_tokens(output), position)
                with ExitStack() as stack:
                    for module in layers:
                        stack.callback(cut(module, position))
                    proved = same_outputs(self._logits(batch), wanted)
                return _Plan(position, layers) if proved and layers else None
        return None

    def _may_be_cut(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], wanted: Tensor, position: int
    ) -> list[nn.Module]:
        """Return the layers that the block gives the same without, at the position, when their input is cut to it."""
        assert self._block is not None
        found = []
        for layer in all_layers(self._block).values():
            remove = cut(layer.module, position)
            try:
                given = of_tokens(self._block(*args, **kwargs))
                if given.shape == wanted.shape and same_outputs(given[:, position], wanted[:, position]):
                    found.append(layer.module)
            except Exception:  # attention wants as many queries, keys and values as tokens
                continue
            finally:
                remove()
        return found

    def _logits(self, batch: Batch) -> Tensor:
        return self._adapted.likelihood.logits(self._adapted.model, batch)


def _without_padding(batch: Batch) -> Tensor:
    """Return the numbers of rows without padding, (m,)."""
    assert isinstance(batch.inputs, Mapping)
    mask = batch.inputs.get(MASK)
    whole = torch.ones_like(batch.index, dtype=torch.bool) if mask is None else mask.flatten(1).all(1)
    return whole.nonzero()[:, 0]


def _is_real(batch: Batch, position: int) -> bool:
    """Return whether every row has a token at a position, and no padding."""
    assert isinstance(batch.inputs, Mapping)
    mask = batch.inputs.get(MASK)
    return mask is None or (mask.dim() == 2 and bool(mask[:, position].all()))
