"""What prompts begin with is read once for each draw, not once for each row or batch (a few-shot prompt, instructions).

Attention of a causal network looks back alone: keys and values of the common beginning are the same in every row. They are
computed on one row for each draw, repeated, and the rest of each prompt is read behind them; the next batch takes as much of
them as it begins with, too. That the outputs are those of reading everything is shown on two rows, once for each network and
side of padding; where they aren't, or where a network's layers remember anything but all keys and values, everything is read
in every row.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import MixedRowsError
from bayespeft.data.batch import Batch
from bayespeft.likelihoods.label_tokens import OFFERED, LabelTokens
from bayespeft.networks.configuration import remembers_everything
from bayespeft.networks.forward import cache_name, cache_of, last_logits, takes
from bayespeft.prediction.folding import fitting
from bayespeft.prediction.trunk import Bind, same_outputs
from bayespeft.utils.memory import free_memory
from bayespeft.variational.adapted import Adapted

# A second pass costs what starting it costs: it is worth its while where so many tokens less are read in all.
SAVED = {"cpu": 64}
SAVED_ELSEWHERE = 4096
# Beginnings that later batches may take up fill no more than this part of the free memory.
KEPT = 0.25


@dataclass(frozen=True)
class _Beginning:
    """Tokens (t,) that have been read, and the keys and values of them, of a row for each draw."""

    tokens: Tensor
    cache: Any

    @property
    def nbytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)

    def first(self, tokens: int) -> Any:
        """Return a cache of the first so many tokens, which the network may write to."""
        cut = copy.copy(self.cache)
        cut.layers = [copy.copy(layer) for layer in self.cache.layers]
        for layer in cut.layers:
            layer.keys, layer.values = layer.keys[..., :tokens, :], layer.values[..., :tokens, :]
        return cut


@dataclass(frozen=True)
class _Plan:
    """What is to be read of a batch.

    Attributes:
        ids: (n, T) tokens, padding behind them.
        mask: (n, T).
        shared: tokens that are read once for each draw.
        read: what has been read already, if anything of use.
        known: tokens of it that the rows begin with.
        turned: padding was in front.
    """

    ids: Tensor
    mask: Tensor
    shared: int
    read: _Beginning | None
    known: int
    turned: bool


class Prefix:
    """The beginning that prompts share, of a causal network that answers with label tokens; for draws that stay the same.

    Args:
        adapted: the network, its hooks switched on.
    """

    _known: ClassVar[WeakKeyDictionary[nn.Module, dict[object, bool]]] = WeakKeyDictionary()

    def __init__(self, adapted: Adapted) -> None:
        self._model, self._likelihood = adapted.model, adapted.likelihood
        self._can = (
            isinstance(self._likelihood, LabelTokens)
            and remembers_everything(self._model)
            and takes(self._model, cache_name(self._model))
            and bool(last_logits(self._model, 1))
        )
        self._read: dict[tuple[int, int], _Beginning] = {}
        # The first row of the batch that is read, and that of the one before.
        self._batch: Batch | None = None
        self._row = self._row_before = torch.zeros(0, dtype=torch.int64)

    def part(self, batch: Batch, first: int, draws: int) -> float:
        """Return which part of all tokens of some draws `logits` would read; 1 where all of them."""
        plan = self._plan(batch, first, draws)
        if plan is None:
            return 1.0
        rows, tokens = plan.ids.shape
        return (plan.shared - plan.known + rows * (tokens - plan.shared)) / (rows * tokens)

    def logits(self, batch: Batch, first: int, draws: int, bind: Bind) -> Tensor | None:
        """Run draws on a batch, its common beginning at most once for each; None where that can't be done, or saves little.

        Args:
            batch: on the device.
            first: number of the first draw of this pass.
            draws: of this pass, at least 1.
            bind: binds weights to the adapters.
        """
        plan = self._plan(batch, first, draws)
        if plan is None:
            return None
        ids, mask, shared = plan.ids, plan.mask, plan.shared
        proofs = self._known.setdefault(self._model, {})
        try:
            if plan.turned not in proofs:
                proofs[plan.turned] = self._proved(batch, ids, mask, shared, min(draws, 2), bind)
            if not proofs[plan.turned]:
                return None
            bind(draws, 1)
            front = self._front(ids, mask, shared, draws, None if plan.read is None else (plan.read, plan.known))
            if front is None:
                return None
            self._keep((first, draws), front)
            return self._behind(ids, mask, front.first(shared), draws, bind)
        except (MixedRowsError, torch.OutOfMemoryError):
            self._read.clear()
            proofs[plan.turned] = False
            return None

    def _plan(self, batch: Batch, first: int, draws: int) -> _Plan | None:
        """Return what is to be read of a batch; None where all of it is."""
        inputs = batch.inputs
        if (
            not self._can
            or not isinstance(inputs, Mapping)
            or inputs.keys() - {OFFERED} != {"input_ids", "attention_mask"}
        ):
            return None
        ids, mask = _from_the_left(inputs["input_ids"], inputs["attention_mask"])
        shared = _shared(ids, mask)
        if batch is not self._batch:
            self._batch, self._row_before, self._row = batch, self._row, ids[0, : shared + 1]
        read, known = self._known_beginning(ids, shared, (first, draws))
        # A row alone shares its beginning with the batches around it, if with any.
        shared, others = (shared, len(batch) - 1) if len(batch) > 1 else (_alike(ids[0, :shared], self._row_before), 1)
        least = SAVED.get(ids.device.type, SAVED_ELSEWHERE)
        if shared <= known or others * (shared - known) * draws < least:
            shared = known
        if len(batch) * shared * draws < least:
            return None
        return _Plan(ids, mask, shared, read, known, ids is not inputs["input_ids"])

    def _known_beginning(self, ids: Tensor, shared: int, draws: tuple[int, int]) -> tuple[_Beginning | None, int]:
        """Return what these draws have read already, and how much of it the rows begin with."""
        read = self._read.get(draws)
        known = 0 if read is None else _alike(ids[0, :shared], read.tokens)
        return (read, known) if known else (None, 0)

    def _keep(self, draws: tuple[int, int], front: _Beginning) -> None:
        """Keep what these draws have read for the batches that follow, if there is room."""
        others = sum(read.nbytes for key, read in self._read.items() if key != draws)
        if others + front.nbytes <= KEPT * (free_memory(front.tokens.device) + others):
            self._read[draws] = front
        else:
            self._read.pop(draws, None)

    def _proved(self, batch: Batch, ids: Tensor, mask: Tensor, shared: int, draws: int, bind: Bind) -> bool:
        """Return whether two rows have the outputs that reading all of them gives, their beginning read in two parts."""
        some = torch.tensor([0, len(batch) - 1], device=ids.device)
        bind(draws, len(some))
        wanted = self._likelihood.logits(self._model, batch.rows(some).repeat(draws))
        try:
            bind(draws, 1)
            half = self._front(ids, mask, max(shared // 2, 1), draws, None)
            front = half and self._front(ids, mask, shared, draws, (half, max(shared // 2 - 1, 1)))
            found = front and self._behind(ids[some], mask[some], front.first(shared), draws, bind)
        except Exception:  # whatever a network does with a cache that it didn't expect: it is run without one
            return False
        return isinstance(found, Tensor) and same_outputs(found, wanted)

    def _front(
        self, ids: Tensor, mask: Tensor, shared: int, draws: int, read: tuple[_Beginning, int] | None
    ) -> _Beginning | None:
        """Read the first `shared` tokens of the first row once for each draw, behind those that have been read.

        None where the network's layers remember anything but all keys and values.
        """
        if read is not None and read[1] >= shared:
            return read[0]
        known = 0 if read is None else read[1]
        inputs = {
            "input_ids": ids[:1, known:shared].repeat(draws, 1),
            "attention_mask": mask[:1, :shared].repeat(draws, 1),
        }
        before = {} if read is None else {cache_name(self._model): read[0].first(known)}
        cache = cache_of(self._model(**inputs, **before, **last_logits(self._model, 1), use_cache=True))
        return _Beginning(ids[0, :shared], cache) if _is_plain(cache) else None

    def _behind(self, ids: Tensor, mask: Tensor, cache: Any, draws: int, bind: Bind) -> Tensor | None:
        """Read what is left of each row behind a cache, which has a row for each draw; (draws * rows, K) outputs."""
        assert isinstance(self._likelihood, LabelTokens)
        rows, shared = len(ids), cache.layers[0].keys.shape[-2]
        # Without a cache a pass holds keys and values of one layer at a time, so that many long rows may only go without.
        each = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) // shared
        if fitting(rows, each * mask.shape[1], free_memory(ids.device)) < rows:
            return None
        cache.reorder_cache(torch.arange(draws, device=ids.device).repeat_interleave(rows))
        bind(draws, rows)
        inputs = {"input_ids": ids[:, shared:], "attention_mask": mask}
        rest = Batch(inputs, None, torch.arange(rows)).repeat(draws)
        return self._likelihood.logits_behind(self._model, rest, {cache_name(self._model): cache, "use_cache": True})


def _alike(some: Tensor, others: Tensor) -> int:
    """Return how many tokens two rows (t,) and (u,) begin with."""
    size = min(len(some), len(others))
    return int((some[:size] == others[:size]).long().cumprod(0).sum())


def _from_the_left(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids and mask (n, T) with padding before a row's first token moved behind its last; the same where none is."""
    if bool(mask[:, 0].all()):
        return ids, mask
    columns = (torch.arange(ids.shape[1], device=ids.device) + mask.argmax(1, keepdim=True)) % ids.shape[1]
    return ids.gather(1, columns), mask.gather(1, columns)


def _shared(ids: Tensor, mask: Tensor) -> int:
    """Return how many tokens all rows begin with, without padding and without any row's last token."""
    last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
    same = (ids == ids[:1]).all(0) & (mask == 1).all(0)
    return min(int(same.long().cumprod(0).sum()), int(last.min()))


def _is_plain(cache: Any) -> bool:
    """Return whether each layer keeps keys and values of every token, and nothing else."""
    layers = getattr(cache, "layers", None) or ()
    return bool(layers) and all(type(layer).__name__ == "DynamicLayer" for layer in layers)
