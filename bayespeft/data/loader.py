"""A `DataLoader` as `Examples`: its own batches, in its own order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bayespeft.data.batch import Batch, Inputs
from bayespeft.data.checks import check_finite, label_tensor
from bayespeft.data.examples import Examples
from bayespeft.errors import DataError


class LoaderExamples(Examples):
    """The batches of a `DataLoader`: dicts of tensors (labels under `labels` or `label`), pairs (x, y), or x.

    Order and batch size are the loader's own business, so both arguments of `batches` are ignored: a loader that
    shuffles does so in prediction too (harmless, since labels travel with their inputs), and takes its randomness from
    its own generator or torch's global one. `Batch.index` counts the examples as they come; it therefore names
    positions in the data only if the loader does not shuffle.

    N is the number of examples that one pass reads: that of the data set, or of the loader's sampler if that is a
    subset.

    Args:
        loader: over a data set with a length, with automatic batching.

    Raises:
        DataError: the data set has no length, or is empty; later, while reading: a batch is of another form, its
            tensors have different numbers of examples, or numbers are NaN or infinite.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        if isinstance(loader.dataset, torch.utils.data.IterableDataset) or not isinstance(loader.dataset, Sized):
            raise DataError(
                "the DataLoader reads a stream (IterableDataset), so the number of examples, which weighs data "
                "against prior, is unknown. Pass a data set with a length, or a list of the rows."
            )
        if loader.batch_size is None and loader.batch_sampler is None:
            raise DataError(
                "the DataLoader does not make batches (batch_size=None): give it a batch_size or a batch_sampler."
            )
        self._loader = loader
        if loader.batch_sampler is not None and not isinstance(loader.batch_sampler, Sized):
            raise DataError("the DataLoader's batch_sampler has no length, so an epoch has none: give it a __len__.")
        self._n = len(loader.sampler) if isinstance(loader.sampler, Sized) else len(loader.dataset)
        if self._n == 0:
            raise DataError("the data is empty: the DataLoader has no examples.")

    def __len__(self) -> int:
        return self._n

    def batch_count(self, batch_size: int) -> int:
        """Return the loader's number of batches; `batch_size` is ignored."""
        return len(self._loader)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read the loader once; `batch_size` is ignored.

        With `shuffle` (training; the generator is not used) a pass may lack some examples, as with `drop_last`. Without
        it (prediction) that is a `DataError`.
        """
        read = 0
        for item in self._loader:
            inputs, labels = _split(item)
            named = dict(inputs) if isinstance(inputs, Mapping) else {"the input": inputs}
            n = _count({**named, **({} if labels is None else {"labels": labels})})
            index = torch.arange(read, read + n)
            read += n
            for name, tensor in named.items():
                check_finite(tensor, name, index)
            yield Batch(inputs, None if labels is None else label_tensor(labels, index), index)
        if read > self._n or (shuffle is None and read < self._n):
            raise DataError(
                f"the DataLoader gave {read} examples of {self._n}. To predict, every example is needed once: use a "
                "DataLoader without drop_last and without a sampler that leaves out or repeats examples."
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
    labels = None
    for name in ("label", "labels"):
        if name in batch:
            labels = batch[name]
            if not isinstance(labels, Tensor):
                raise DataError(
                    f"column {name!r} of a DataLoader's batch is a {type(labels).__name__}; a tensor is expected."
                )
    # Columns that are no tensors (texts, names of files) can't reach a network and are left out.
    inputs = {name: x for name, x in batch.items() if isinstance(x, Tensor) and name not in ("label", "labels")}
    if not inputs:
        raise DataError(
            f"a batch of the DataLoader has no input tensors: found {', '.join(map(str, batch)) or 'nothing'}. Pass "
            "raw rows themselves, without a DataLoader, or tokenise in its collate_fn."
        )
    if "input_ids" in inputs:
        inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
    return inputs, labels


def _count(tensors: Mapping[str, Tensor]) -> int:
    sizes = {len(tensor) if tensor.dim() else 0 for tensor in tensors.values()}
    if len(sizes) != 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise DataError(f"the tensors of a batch have different numbers of examples: {shapes}.")
    return sizes.pop()
