"""The series that charts draw, computed once: a page's SVG and a plot of matplotlib show the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayespeft.report.binning import Bin
from bayespeft.report.proportions import exact


@dataclass(frozen=True, slots=True)
class Dot:
    """A bin of a reliability diagram that holds examples.

    Attributes:
        left, right: edges of the bin.
        count: examples in it.
        confidence: their mean confidence.
        accuracy: share of them that are right.
        interval: the exact 95 % interval of `accuracy`.
        expected: where 95 % of samples of so many examples fall, at this bin on its own, if accuracy is the confidence.
    """

    left: float
    right: float
    count: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]
    expected: tuple[float, float]

    @property
    def kind(self) -> str:
        """What the gap between confidence and accuracy says: "over" or "under"."""
        return "over" if self.confidence > self.accuracy else "under"

    @property
    def hits(self) -> int:
        """How many are right."""
        return round(self.count * self.accuracy)


def dots(bins: Sequence[Bin]) -> list[Dot]:
    """Return the dots of a reliability diagram, from confidence 0 to 1."""
    found = []
    for b in bins:
        if b.confidence is not None and b.accuracy is not None:
            low, high = expected(b.count, [min(b.confidence, 1.0)])
            whisker = exact(b.accuracy, b.count)
            found.append(Dot(b.low, b.high, b.count, b.confidence, b.accuracy, whisker, (low[0], high[0])))
    return found


@dataclass(frozen=True, slots=True)
class Banded:
    """Shares y at positions x, and the band where 95 % of samples fall if predictions are calibrated, at each x on its own."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def pit(counts: Sequence[int], n: int) -> Banded:
    """Return the shares of n examples' targets in equal bins of the probability integral transform; x are left edges."""
    size, total = len(counts), sum(counts)
    edges = np.linspace(0, 1, size + 1)[:-1]
    return _banded(edges, [count / total for count in counts], np.full(size, 1 / size), n)


def quantiles(curve: Sequence[float], n: int) -> Banded:
    """Return the shares of n examples' targets below the predicted quantiles, whose levels x go from 0 to 1."""
    levels = np.linspace(0, 1, len(curve))
    return _banded(levels, curve, levels, n)


def expected(n: int, shares: npt.ArrayLike) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the ends of the central 95 % of a proportion among n, if its expectation is each of the shares."""
    from scipy.stats import binom  # slow to import

    low, high = (np.asarray(end) / n for end in binom.interval(0.95, n, np.asarray(shares)))
    return tuple(low.tolist()), tuple(high.tolist())


def _banded(x: npt.ArrayLike, y: Sequence[float], ideal: npt.ArrayLike, n: int) -> Banded:
    return Banded(tuple(np.asarray(x).tolist()), tuple(y), *expected(n, ideal))
