"""Examples that read others, and change what they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples


@dataclass(frozen=True)
class WrappedExamples(Examples):
    """Other examples, each batch of which may be changed as it is read.

    Attributes:
        examples: those that are read.
    """

    examples: Examples

    def changed(self, batch: Batch) -> Batch:
        """Return a batch as it is passed on; here as it was read."""
        return batch

    def __len__(self) -> int:
        return len(self.examples)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read every example once, in the order of the wrapped examples."""
        return map(self.changed, self.examples.batches(batch_size, shuffle))

    def batch_count(self, batch_size: int) -> int:
        """Return that of the wrapped examples."""
        return self.examples.batch_count(batch_size)

    def rows_per_batch(self, batch_size: int) -> float:
        """Return that of the wrapped examples."""
        return self.examples.rows_per_batch(batch_size)

    def labels(self) -> Tensor | None:
        """Return those of the wrapped examples."""
        return self.examples.labels()

    def uneven(self) -> Batch | None:
        """Return that of the wrapped examples, changed."""
        found = self.examples.uneven()
        return None if found is None else self.changed(found)

    @property
    def side(self) -> Literal["left", "right"] | None:
        """Where the wrapped examples are padded."""
        return self.examples.side

    def sides(self) -> Iterator[Examples]:
        """Yield the wrapped examples padded on other sides, each wrapped as these are."""
        return (replace(self, examples=other) for other in self.examples.sides())

    def subset(self, index: Tensor) -> Examples | None:
        """Return some of the wrapped examples, by (n,) positions, wrapped as these are; None where they can't be told apart."""
        found = self.examples.subset(index)
        return None if found is None else replace(self, examples=found)
