"""Data that somebody else feeds: some of it, to look at before training, or one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.data.wrapped import WrappedExamples


@dataclass(frozen=True)
class Sample(WrappedExamples):
    """Some of N examples: these can be read, and all N count.

    Attributes:
        size: N.
    """

    size: int

    def __len__(self) -> int:
        return self.size

    # Passes are over all N, and so are positions.
    batch_count = Examples.batch_count
    rows_per_batch = Examples.rows_per_batch
    subset = Examples.subset


@dataclass(frozen=True)
class OneBatch(Examples):
    """The examples of one batch, read as they are."""

    batch: Batch

    def __len__(self) -> int:
        return len(self.batch)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield the batch; neither argument means anything."""
        yield self.batch

    def batch_count(self, batch_size: int) -> int:
        """Return 1."""
        return 1

    def labels(self) -> Tensor | None:
        """Return its labels."""
        return self.batch.labels
