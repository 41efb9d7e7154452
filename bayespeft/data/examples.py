"""`Examples`: the one form in which data reaches training and prediction, whatever form it came in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from bayespeft.data.batch import Batch


class Examples(ABC):
    """N examples that can be read in batches, again and again."""

    @abstractmethod
    def __len__(self) -> int:
        """N, the number of examples: the number that scales the KL."""

    @abstractmethod
    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read every example once, in batches on the CPU.

        Args:
            batch_size: examples per batch; the last one may be smaller.
            shuffle: order and batches are random, determined by this generator's state, and examples of similar
                length go together; without it the order is the fastest for reading (by length), and `Batch.index`
                says which example is which.
        """

    def batch_count(self, batch_size: int) -> int:
        """Return the number of batches of one pass."""
        return -(-len(self) // batch_size)

    def labels(self) -> Tensor | None:
        """Return all labels, (N, ...) in data order: int64 or float32, as in the batches.

        None where the data has no labels, and where they could only be had by reading all inputs too.
        """
        return None
