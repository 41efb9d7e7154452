"""Examples without their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples


@dataclass(frozen=True)
class UnlabelledExamples(Examples):
    """Examples whose labels are not read: they may be of other classes than the network's."""

    examples: Examples

    def __len__(self) -> int:
        return len(self.examples)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """As the base, with no labels."""
        return (replace(batch, labels=None) for batch in self.examples.batches(batch_size, shuffle))

    def batch_count(self, batch_size: int) -> int:
        """As the base."""
        return self.examples.batch_count(batch_size)

    def uneven(self) -> Batch | None:
        """As the base, with no labels."""
        found = self.examples.uneven()
        return None if found is None else replace(found, labels=None)
