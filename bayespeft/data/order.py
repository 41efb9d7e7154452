"""The order in which examples are read: examples of similar length together, so that little padding is computed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Batches among which lengths are sorted while shuffling: more of them means less padding and less randomness.
MEGABATCH = 50


def batch_indices(
    n: int, batch_size: int, lengths: Tensor | None = None, shuffle: torch.Generator | None = None
) -> Iterator[Tensor]:
    """Cut the positions 0 ... n-1 into batches; every position comes exactly once.

    Without `shuffle`: the longest examples first, so that a batch which is too large for the memory fails at once.
    With it: all positions are shuffled, and the first of them that fill no whole batch make the short one, so that no
    length is likelier there than another. The others are cut into megabatches, each is sorted by length and cut into
    batches, and the batches are shuffled. Examples of equal length are in random order in every case.

    Args:
        n: number of examples.
        batch_size: positions per batch; one batch may be smaller.
        lengths: (n,) length of each example; None where all are equal.
        shuffle: a generator, on any device; two draws are taken from it.

    Yields:
        (batch_size,) int64 positions, on the CPU.
    """
    if shuffle is None:
        order = torch.arange(n) if lengths is None else torch.argsort(lengths, descending=True, stable=True)
        yield from torch.split(order, batch_size)
        return
    order = _permutation(n, shuffle)
    short, order = order[: n % batch_size], order[n % batch_size :]
    if lengths is not None and len(order):
        order = torch.cat(
            [part[torch.argsort(lengths[part], stable=True)] for part in torch.split(order, batch_size * MEGABATCH)]
        )
    batches = [batch for batch in (*torch.split(order, batch_size), short) if len(batch)]
    for position in _permutation(len(batches), shuffle).tolist():
        yield batches[position]


def _permutation(n: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(n, generator=generator, device=generator.device).cpu()
