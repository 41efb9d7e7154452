"""Some of the data, to look at before training that somebody else feeds."""

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
