"""The interval of a mean to which all examples contribute the same: it is of what may have gone unseen.

Such a sample has no spread, so that neither resamples nor a t-distribution tell how far its mean may be off. Examples that
contribute something else may still be a share of the population up to the upper end of Clopper's and Pearson's interval of none
among n, and each moves the mean by as much as its range allows: without an end, where the range has none.
"""

from __future__ import annotations

import math

from bayespeft.report.metric import Metric
from bayespeft.report.proportions import exact

ALIKE = 1e-6
"""Contributions whose standard deviation is at most this share of their size are alike: single precision tells no more."""


def alike(error: float, n: int, size: float) -> bool:
    """Whether n contributions of a size, whose mean has a standard error, are alike."""
    return error * math.sqrt(n) <= ALIKE * size


def unseen(value: float, n: float, level: float, least: float, most: float, weight: float = 1.0) -> Metric:
    """Return a mean to which each of n examples contributes the same, with its interval.

    Args:
        value: the mean.
        n: examples.
        level: coverage that the interval has at least.
        least, most: what an example may contribute.
        weight: how much one that was not seen may weigh, as a multiple of the mean weight of those that were.
    """
    share = exact(0.0, n, level)[1]
    share *= weight / (share * weight + 1 - share)
    return Metric(value, value - share * max(value - least, 0.0), value + share * max(most - value, 0.0))
