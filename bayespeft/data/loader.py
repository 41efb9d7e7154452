"""A `DataLoader` as `Examples`: its own batches, in its own order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from bayespeft.data.batch import Batch, Inputs
from bayespeft.data.checks import check_finite, check_layout, label_tensor
from bayespeft.data.columns import LABELS, MASK, TOKENS
from bayespeft.data.examples import Examples
from bayespeft.data.passes import batch_sizes, pass_seed, private, read
from bayespeft.errors import DataError
from bayespeft.utils.warned import warn


class LoaderExamples(Examples):
    """The batches of a `DataLoader`: dicts of tensors (labels under `labels` or `label`), pairs (x, y), or x.

    Batch sizes are the loader's own business, and so is its kind of order: the `batch_size` of `batches` is ignored. The
    loader itself is not moved. Training reads epochs of a copy, which takes its randomness from the loader's own
    generators, in the states that they are in now, and from the seed of the fit. All other passes are alike: the same
    examples in the same order, each time anew from these states, so that passes can be repeated. `Batch.index` counts the
    examples as they come; it names positions in the data only if the loader does not shuffle.

    N is the number of examples that one pass reads: that of the data set, or of the loader's sampler if that is a
    subset; in training that of a batch sampler of its own.

    Args:
        loader: over a data set with a length, with automatic batching.
        training: this is what is trained on, so that a sampler may repeat examples (to balance classes, say), and the last
            batch of an epoch may be dropped. Passes without shuffling read that, too.

    Raises:
        DataError: the data set has no length, or is empty; an example is given more than once, or dropped, and this is
            not for training; later, while reading: a batch is of another form, its tensors have different numbers of
            examples, or numbers are NaN or infinite.
    """

    def __init__(self, loader: DataLoader[Any], training: bool = False) -> None:
        if isinstance(loader.dataset, torch.utils.data.IterableDataset) or not isinstance(loader.dataset, Sized):
            raise DataError(
                "the DataLoader reads a stream (IterableDataset), so the number of examples, which weighs data "
                "against prior, is unknown. Pass a data set with a length, or a list of the rows."
            )
        if loader.batch_size is None and loader.batch_sampler is None:
            raise DataError(
                "the DataLoader does not make batches (batch_size=None): give it a batch_size or a batch_sampler."
            )
        if loader.batch_sampler is not None and not isinstance(loader.batch_sampler, Sized):
            raise DataError("the DataLoader's batch_sampler has no length, so an epoch has none: give it a __len__.")
        self._n = len(loader.sampler) if isinstance(loader.sampler, Sized) else len(loader.dataset)
        if self._n == 0:
            raise DataError("the data is empty: the DataLoader has no examples.")
        sizes = batch_sizes(loader, once=not training)
        if sizes and training and not isinstance(loader.batch_sampler, BatchSampler):
            self._n = sum(sizes)  # its own batches may leave examples out, or repeat them
        if sizes and not training and sum(sizes) < self._n:
            raise DataError(_incomplete(sum(sizes), self._n))
        if training:
            _tell_sampler(loader, self._n)
        self._rows_per_batch = sum(sizes) / len(sizes) if sizes else self._n / len(loader)
        self._still = private(loader, complete=training)  # never read: every pass begins with a copy
        self._moving = private(loader)

    def __len__(self) -> int:
        return self._n

    @property
    def own_order(self) -> bool:
        """Whether examples come in an order that no other pass over the loader has: it shuffles by torch's global numbers."""
        sampler = self._still.sampler
        return isinstance(sampler, (RandomSampler, SubsetRandomSampler)) and sampler.generator is None

    def batch_count(self, batch_size: int) -> int:
        """Return the loader's number of batches; `batch_size` is ignored."""
        return len(self._moving)

    def rows_per_batch(self, batch_size: int) -> float:
        """Return the mean size of the loader's batches; `batch_size` is ignored."""
        return self._rows_per_batch

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read the loader once; `batch_size` is ignored.

        With `shuffle` (training; one draw is taken) a pass may lack some examples, as with `drop_last`. Without it that is
        a `DataError`.
        """
        if shuffle is None:
            return self._read(private(self._still), pass_seed(None), complete=True)
        return self._read(self._moving, pass_seed(shuffle), complete=False)

    def uneven(self) -> Batch | None:
        """Return the longest and the shortest example of the first batch, if `attention_mask` says that they differ."""
        return next(iter(self.batches(1))).uneven()

    def _read(self, loader: DataLoader[Any], seed: int, complete: bool) -> Iterator[Batch]:
        count = 0
        for item in read(loader, seed):
            batch = batch_of(item, count).detached()
            count += len(batch)
            if complete and count > self._n:
                raise DataError(_incomplete(count, self._n))
            yield batch
        if complete and count < self._n:
            raise DataError(_incomplete(count, self._n))


def _tell_sampler(loader: DataLoader[Any], n: int) -> None:
    """Warn of a sampler that changes what is learned, or how sure the posterior is of it."""
    sampler, rows = loader.sampler, len(loader.dataset)  # type: ignore[arg-type]
    changes = []
    if isinstance(sampler, WeightedRandomSampler) and bool((sampler.weights != sampler.weights[0]).any()):
        changes.append(
            "its WeightedRandomSampler gives rows weights, so that what is learned is the law of a population with these, "
            "and probabilities are of that population (for weights by class, class_weight= says the same in the objective, and "
            "can be led back)"
        )
    if n > rows:
        changes.append(
            f"a pass reads {n:,} examples of {rows:,} rows, and the posterior will be as sure as if there were so many: take "
            f"num_samples={rows}"
        )
    if changes:
        warn(f"the DataLoader: {'; '.join(changes)}.")


def batch_of(item: object, first: int = 0) -> Batch:
    """Return what a loader gives as a batch: a dict of tensors (labels under `labels` or `label`), a pair (x, y), or x.

    Args:
        item: what it gives.
        first: the position of its first example.

    Raises:
        DataError: it is none of these, its tensors have different numbers of examples, or numbers are NaN or infinite.
    """
    inputs, labels = _split(item)
    named = dict(inputs) if isinstance(inputs, Mapping) else {"the input": inputs}
    n = _count({**named, **({} if labels is None else {"labels": labels})})
    index = torch.arange(first, first + n)
    for name, tensor in named.items():
        check_finite(tensor, name, index)
    return Batch(inputs, None if labels is None else label_tensor(labels, index), index)


def _incomplete(found: int, n: int) -> str:
    return (
        f"the DataLoader gave {found} examples of {n}. To predict, every example is needed once: use a DataLoader without "
        "drop_last and without a sampler that leaves out or repeats examples."
    )


def _split(item: object) -> tuple[Inputs, Tensor | None]:
    """Split what a loader gives into inputs and labels."""
    if isinstance(item, Mapping):
        return _split_columns(item)
    parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
    if len(parts) in (1, 2) and all(isinstance(part, Tensor) for part in parts[1:]):
        label = parts[1] if len(parts) == 2 else None
        if isinstance(parts[0], Tensor):
            return parts[0], label
        if isinstance(parts[0], Mapping):
            inputs, own = _split_columns(parts[0])
            return inputs, own if label is None else label
    kinds = ", ".join(type(part).__name__ for part in parts)
    raise DataError(
        f"a batch of the DataLoader is a {type(item).__name__} ({kinds}); expected a dict of tensors, (x, y) or x."
    )


def _split_columns(batch: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor | None]:
    found: dict[str, Any] = {name: batch[name] for name in LABELS if name in batch}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise DataError(
                f"column {name!r} of a DataLoader's batch is a {type(value).__name__}; a tensor is expected."
            )
        check_layout(value, name)
    labels: Any = next(iter(found.values()), None)
    if any(value.shape != labels.shape or bool((value != labels).any()) for value in found.values()):
        raise DataError(
            f"a batch of the DataLoader has the labels {', '.join(found)}, which differ: leave all but one of them out."
        )
    # Columns that are no tensors (texts, names of files) can't reach a network and are left out.
    inputs = {name: x for name, x in batch.items() if isinstance(x, Tensor) and name not in LABELS}
    if not inputs:
        raise DataError(
            f"a batch of the DataLoader has no input tensors: found {', '.join(map(str, batch)) or 'nothing'}. Pass "
            "raw rows themselves, without a DataLoader, or tokenise in its collate_fn."
        )
    if TOKENS in inputs:
        inputs.setdefault(MASK, torch.ones_like(inputs[TOKENS]))
    return inputs, labels


def _count(tensors: Mapping[str, Tensor]) -> int:
    for name, tensor in tensors.items():
        check_layout(tensor, name)
    sizes = {len(tensor) if tensor.dim() else 0 for tensor in tensors.values()}
    if len(sizes) != 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise DataError(f"the tensors of a batch have different numbers of examples: {shapes}.")
    return sizes.pop()
