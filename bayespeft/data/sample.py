"""Data that somebody else feeds: some of it, to look at before training, or one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples


@dataclass(frozen=True)
class Sample(Examples):
    """Some of N examples: they can be read, and all N count.

    Attributes:
        examples: those that are here.
        size: N.
    """

    examples: Examples
    size: int

    def __len__(self) -> int:
        return self.size

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read the examples that are here, as the base."""
        return self.examples.batches(batch_size, shuffle)

    def labels(self) -> Tensor | None:
        """Return the labels of the examples that are here."""
        return self.examples.labels()

    def uneven(self) -> Batch | None:
        """As the base."""
        return self.examples.uneven()

    @property
    def side(self) -> Literal["left", "right"] | None:
        """As the base."""
        return self.examples.side

    def sides(self) -> Iterator[Examples]:
        """As the base."""
        return (replace(self, examples=other) for other in self.examples.sides())


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
        """One."""
        return 1

    def labels(self) -> Tensor | None:
        """Return its labels."""
        return self.batch.labels
