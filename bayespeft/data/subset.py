"""Some of the examples of a data set, as examples of their own: what is trained on, and what is held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.data.order import batch_indices


class Subset(Examples):
    """Examples of a data set that can be read one by one; `Batch.index` counts within the subset.

    Args:
        take: reads the examples at positions (n,) of the whole data set, as one batch.
        index: (N,) positions of the subset.
        lengths: (all,) length of each example of the whole data set; None where all are equal.
        labels: (all, ...) labels of the whole data set, as `Examples.labels` returns them.
    """

    def __init__(
        self, take: Callable[[Tensor], Batch], index: Tensor, lengths: Tensor | None, labels: Tensor | None
    ) -> None:
        self._take, self._index = take, index
        self._lengths = None if lengths is None else lengths[index]
        self._labels = None if labels is None else labels[index]

    def __len__(self) -> int:
        return len(self._index)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read every example of the subset once: see `Examples.batches`."""
        for part in batch_indices(len(self), batch_size, self._lengths, shuffle):
            yield replace(self._take(self._index[part]), index=part)

    def labels(self) -> Tensor | None:
        """Return the subset's labels, (N, ...)."""
        return self._labels
