"""Which examples are the same ones again: oversampled rows, or one text with the labels of several annotators."""

from __future__ import annotations

import torch
from torch import Tensor

from bayespeft.data.digest import Digest
from bayespeft.data.examples import Examples


def firsts(examples: Examples) -> Tensor:
    """Return (N,), for each example the position of one with the same inputs: the same for all that share them.

    Labels may differ. It takes a pass over the data, one by one, since padding goes by what stands beside an example.

    Args:
        examples: that can be read again and again.
    """
    known: dict[str, int] = {}
    found = torch.empty(len(examples), dtype=torch.int64)
    for batch in examples.batches(1):
        digest = Digest()
        digest.add_inputs(batch)
        position = int(batch.index)
        found[position] = known.setdefault(digest.text(), position)
    return found
