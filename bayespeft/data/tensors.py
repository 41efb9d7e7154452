"""Tensors (X, Y), and data sets of pairs (x, y), as `Examples`: for networks that take one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.checks import check_batch_size, check_finite, check_layout, label_tensor
from bayespeft.data.examples import Examples
from bayespeft.data.order import batch_indices
from bayespeft.data.passes import pass_seed, read
from bayespeft.data.subset import Subset
from bayespeft.errors import DataError


class SizedDataset(Protocol):
    """A map-style data set, such as `torch.utils.data.Dataset` or a list."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def __getitem__(self, index: int) -> Any:
        """Return one example."""


class TensorExamples(Examples):
    """Inputs (N, ...) and labels (N, ...) as they are: nothing is copied, a batch without shuffling is a view.

    What they were computed from learns nothing: gradients end here.

    Args:
        inputs: (N, ...), any dtype.
        labels: (N, ...) or None; batches have them as int64 (integers, booleans) or float32 (floats).

    Raises:
        DataError: N is 0 or not the same; NaN or infinite numbers (all are checked once, in chunks).
    """

    def __init__(self, inputs: Tensor, labels: Tensor | None = None) -> None:
        for name, tensor in (("X", inputs), ("Y", labels)):
            if tensor is not None:
                check_layout(tensor, name)
                if tensor.dim() == 0:
                    raise DataError(f"{name} has no axis of examples: it is a single number.")
        if len(inputs) == 0:
            raise DataError(f"the data is empty: X has the shape {tuple(inputs.shape)}.")
        if labels is not None and len(labels) != len(inputs):
            raise DataError(f"X has {len(inputs)} examples and Y has {len(labels)}: they must have as many.")
        check_finite(inputs, "the input")
        self._inputs = inputs.detach()
        self._labels = None if labels is None else label_tensor(labels.detach())

    def __len__(self) -> int:
        return len(self._inputs)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read every example once, in data order or shuffled: see `Examples.batches`. Tensors stay on their device."""
        check_batch_size(batch_size)
        if shuffle is None:
            return (self._batch(index, slice(int(index[0]), int(index[-1]) + 1)) for index in self._indices(batch_size))
        return (self._batch(index, index) for index in self._indices(batch_size, shuffle))

    def labels(self) -> Tensor | None:
        """Return all labels, (N, ...)."""
        return self._labels

    def subset(self, index: Tensor) -> Subset:
        """Return the examples at positions (n,)."""
        return Subset(lambda part: self._batch(part, part), index, None, self._labels)

    def _indices(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Tensor]:
        return batch_indices(len(self), batch_size, shuffle=shuffle)

    def _batch(self, index: Tensor, where: slice | Tensor) -> Batch:
        return Batch(self._inputs[where], None if self._labels is None else self._labels[where], index)


class PairExamples(Examples):
    """A map-style data set whose items are (x, y), (x,) or x: tensors x of one shape, y numbers or tensors.

    Items are read when their batch is, so that images may come from disk; they are checked then, too. `labels()` is
    None, because reading labels would mean reading every x.

    Raises:
        DataError: no items; later, when a batch is read: shapes differ, or numbers are NaN or infinite.
    """

    def __init__(self, dataset: SizedDataset) -> None:
        if len(dataset) == 0:
            raise DataError("the data is empty: the data set has no items.")
        self._dataset = dataset
        self._labelled = len(_pair(dataset[0], 0)) == 2

    def __len__(self) -> int:
        return len(self._dataset)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read every example once, in data order or shuffled: see `Examples.batches`.

        Items that draw random numbers (augmented images, say) draw the same in every pass that does not shuffle.
        """
        check_batch_size(batch_size)
        seed = pass_seed(shuffle)
        return read(map(self._batch, batch_indices(len(self), batch_size, shuffle=shuffle)), seed)

    def subset(self, index: Tensor) -> Subset:
        """Return the items at positions (n,); they are read when their batch is."""
        return Subset(self._batch, index, None, None)

    def _batch(self, index: Tensor) -> Batch:
        numbers = index.tolist()
        pairs = [_pair(self._dataset[number], number) for number in numbers]
        for number, pair in zip(numbers, pairs, strict=True):
            if (len(pair) == 2) != self._labelled:
                has = "a label" if len(pair) == 2 else "no label"
                raise DataError(f"item {number} has {has}, unlike item 0. Give all items a label, or none.")
        inputs = _stack([pair[0] for pair in pairs], numbers, "input")
        check_finite(inputs, "the input", index)
        if not self._labelled:
            return Batch(inputs, None, index)
        return Batch(inputs, label_tensor(_stack([pair[1] for pair in pairs], numbers, "label"), index), index)


def _pair(item: object, number: int) -> tuple[Any, ...]:
    pair = tuple(item) if isinstance(item, (tuple, list)) else (item,)
    if len(pair) not in (1, 2):
        raise DataError(f"item {number} is a {type(item).__name__} of {len(pair)} parts, expected (x, y) or x.")
    return pair


def _stack(values: Sequence[object], numbers: Sequence[int], what: str) -> Tensor:
    tensors = []
    for value, number in zip(values, numbers, strict=True):
        try:
            tensors.append(torch.as_tensor(value).detach())
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                f"the {what} of item {number} is {value!r:.80}, a {type(value).__name__}: a tensor is expected "
                f"({error}). Convert it in the data set, for example by a transform."
            ) from None
        check_layout(tensors[-1], f"the {what} of item {number}")
    odd = next((k for k, tensor in enumerate(tensors) if tensor.shape != tensors[0].shape), None)
    if odd is not None:
        raise DataError(
            f"the {what}s of items {numbers[0]} and {numbers[odd]} have the shapes {tuple(tensors[0].shape)} and "
            f"{tuple(tensors[odd].shape)}: one batch needs one shape. Crop or pad them, or use a DataLoader with a "
            "collate_fn."
        )
    return torch.stack(tensors)
