"""How the rows of a layer's input go by examples, so that each example can have a draw of its own.

A network may hand a layer its examples one by one, tokens or windows of all examples in one long axis, or positions before
examples. Where each example has as many rows, and they stand in one of two orders, a draw for each example is exact.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

# - "first": an example is an element of the input's first axis;
# - "grouped": with all axes but the last made one, each example's rows are side by side (Swin's windows, OPT's tokens);
# - "alternating": the first row of each example, then the second of each (XLNet, Longformer: positions before examples);
# - "mixed": neither, as where tokens are routed to experts.
Order = Literal["first", "grouped", "alternating", "mixed"]
MIXED: Order = "mixed"


def by_example(x: Tensor, order: Order, examples: int) -> Tensor | None:
    """Return a layer's input or output (..., n) as (examples, rows of one, n); None where that can't be done.

    "first" keeps all axes: (examples, ..., n).
    """
    if order == "first":
        return x if len(x) == examples else None
    if order == MIXED or x.dim() < 2 or x.shape[:-1].numel() % examples:
        return None
    if order == "grouped":
        return x.reshape(examples, -1, x.shape[-1])
    return x.reshape(-1, examples, x.shape[-1]).transpose(0, 1)


def as_it_was(y: Tensor, order: Order, shape: torch.Size) -> Tensor:
    """Return what `by_example` returned in its own shape."""
    return (y.transpose(0, 1) if order == "alternating" else y).reshape(shape)
