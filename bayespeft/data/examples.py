"""`Examples`: the one form in which data reaches training and prediction, whatever form it came in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.digest import Digest


class Examples(ABC):
    """N examples that can be read in batches, again and again.

    Attributes:
        digest_batch: examples that are read at a time for `digest`.
    """

    digest_batch: ClassVar[int] = 256

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

    def rows_per_batch(self, batch_size: int) -> float:
        """Return the mean number of examples in a batch of one pass: what the sum over a batch is divided by in training."""
        return len(self) / self.batch_count(batch_size)

    def labels(self) -> Tensor | None:
        """Return all labels, (N, ...) in data order: int64 or float32, as in the batches.

        None where the data has no labels, and where they could only be had by reading all inputs too.
        """
        return None

    @property
    def side(self) -> Literal["left", "right"] | None:
        """Where rows are padded; None where batches come as they are."""
        return None

    def sides(self) -> Iterator[Examples]:
        """Yield these examples padded on other sides, where that can be chosen."""
        return iter(())

    def uneven(self) -> Batch | None:
        """Return two examples of different lengths in one batch with `attention_mask`; None where there are none to find."""
        return None

    def digest(self) -> str:
        """Return a hash of all inputs and labels, at the cost of one pass without a network."""
        digest = Digest()
        for batch in self.batches(self.digest_batch):
            digest.add_batch(batch)
        return digest.text()

    def subset(self, index: Tensor) -> Examples | None:
        """Return the examples at positions (n,) as examples of their own; None where only all can be read, in their order."""
        return None
