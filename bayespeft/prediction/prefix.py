"""What all prompts of a batch begin with is read once for each draw, not once for each row (a few-shot prompt, instructions).

Attention of a causal network looks back alone: keys and values of the common beginning are the same in every row. They are
computed on one row for each draw, repeated, and the rest of each prompt is read behind them. That the outputs are those of
reading everything is shown on two rows, once for each network and side of padding; where they aren't, or where a network's
layers remember anything but all keys and values, everything is read in every row.
"""

from __future__ import annotations

from collections.abc import Mapping
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


class Prefix:
    """The beginning that the prompts of a batch share, of a causal network that answers with label tokens.

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

    def logits(self, batch: Batch, draws: int, bind: Bind) -> Tensor | None:
        """Run draws on a batch, its common beginning once for each; None where that can't be done, or saves little.

        Args:
            batch: on the device.
            draws: of this pass, at least 1.
            bind: binds weights to the adapters.
        """
        inputs = batch.inputs
        if (
            not self._can
            or not isinstance(inputs, Mapping)
            or inputs.keys() - {OFFERED} != {"input_ids", "attention_mask"}
        ):
            return None
        ids, mask = _from_the_left(inputs["input_ids"], inputs["attention_mask"])
        shared = _shared(ids, mask)
        if (len(batch) - 1) * shared * draws < SAVED.get(ids.device.type, SAVED_ELSEWHERE):
            return None
        known = self._known.setdefault(self._model, {})
        key = ids is not inputs["input_ids"]
        try:
            if key not in known:
                known[key] = self._proved(batch, ids, mask, shared, min(draws, 2), bind)
            return self._run(ids, mask, shared, draws, bind) if known[key] else None
        except (MixedRowsError, torch.OutOfMemoryError):
            known[key] = False
            return None

    def _proved(self, batch: Batch, ids: Tensor, mask: Tensor, shared: int, draws: int, bind: Bind) -> bool:
        """Return whether two rows have the outputs that reading all of them gives."""
        some = torch.tensor([0, len(batch) - 1], device=ids.device)
        bind(draws, len(some))
        wanted = self._likelihood.logits(self._model, batch.rows(some).repeat(draws))
        try:
            found = self._run(ids[some], mask[some], shared, draws, bind)
        except Exception:  # whatever a network does with a cache that it didn't expect: it is run without one
            return False
        return found is not None and same_outputs(found, wanted)

    def _run(self, ids: Tensor, mask: Tensor, shared: int, draws: int, bind: Bind) -> Tensor | None:
        """Read the first `shared` tokens once for each draw, then what is left of each row; (draws * rows, K) outputs."""
        assert isinstance(self._likelihood, LabelTokens)
        rows = len(ids)
        bind(draws, 1)
        front = {"input_ids": ids[:1, :shared].repeat(draws, 1), "attention_mask": mask[:1, :shared].repeat(draws, 1)}
        cache = cache_of(self._model(**front, **last_logits(self._model, 1), use_cache=True))
        if not _is_plain(cache):
            return None
        # Without a cache a pass holds keys and values of one layer at a time, so that many long rows may only go without.
        each = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) // shared
        if fitting(rows, each * mask.shape[1], free_memory(ids.device)) < rows:
            return None
        cache.reorder_cache(torch.arange(draws, device=ids.device).repeat_interleave(rows))
        bind(draws, rows)
        inputs = {"input_ids": ids[:, shared:], "attention_mask": mask}
        rest = Batch(inputs, None, torch.arange(rows)).repeat(draws)
        return self._likelihood.logits_behind(self._model, rest, {cache_name(self._model): cache, "use_cache": True})


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
