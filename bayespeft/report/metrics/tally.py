"""Examples in order of confidence, and what resamples of them sum to: every figure is a function of such sums.

A resample is a vector of counts over the examples, so that nothing is sorted or scored again; the figure of the sample
itself is that of counts of 1. All sums are read off running sums in order of confidence. R resamples are laid out on one
line of R * n examples: one running sum, one interpolation for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bayespeft.report.binning import CELLS, N_BINS, Floats, Ints, bin_edges, bin_index, mass_edges, tie_ends
from bayespeft.report.metrics.examples import Scores

T = TypeVar("T")
Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Ordered:
    """Scores with the least confident example first. Examples of equal confidence form a group.

    Attributes:
        order: (n,) which example stands where.
        scores: of the examples, in that order.
        n_bins: bins of the binned figures.
    """

    order: Positions
    scores: Scores
    n_bins: int = N_BINS
    _found: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, scores: Scores, n_bins: int = N_BINS) -> Ordered:
        """Sort scores; the order among equals is that of the examples.

        Raises:
            ConfigError: fewer than one bin.
        """
        bin_edges(n_bins)
        order = np.argsort(scores.confidence, kind="stable")
        return cls(order, scores.take(order), n_bins)

    @property
    def confidence(self) -> Floats:
        """(n,) ascending."""
        return self.scores.confidence

    @property
    def correct(self) -> Floats:
        """(n,) 1.0 or 0.0."""
        return self.scores.correct

    def once(self, make: Callable[[Ordered], T]) -> T:
        """Return what a function makes of these, made once."""
        if make not in self._found:
            self._found[make] = make(self)
        found: T = self._found[make]
        return found

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def whole(self) -> Tally:
        """The sample itself: R = 1."""
        # The tally holds another object of the same arrays, for two that hold each other would wait for garbage collection.
        return Tally(replace(self), np.ones((1, len(self))))

    @cached_property
    def ends(self) -> Ints:
        """(G,) the last example of each group."""
        return tie_ends(self.confidence)

    @cached_property
    def harmonic(self) -> Floats:
        """(n + 1,) the harmonic numbers 0, 1, 1 + 1/2, ..."""
        return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, len(self) + 1))])

    @cached_property
    def groups(self) -> Positions:
        """(G + 1,) where groups of equal confidence begin, and where the last one ends."""
        return np.concatenate([[0], self.ends + 1])

    @cached_property
    def width_edges(self) -> Positions:
        """(n_bins + 1,) where each bin of equal width begins, and where the last one ends."""
        return np.searchsorted(bin_index(self.confidence, self.n_bins), np.arange(self.n_bins + 1))

    @cached_property
    def mass_edges(self) -> Ints:
        """(n_bins + 1,) the same of bins of equal mass."""
        return mass_edges(len(self), self.n_bins)

    @cached_property
    def cell_edges(self) -> Positions:
        """(CELLS + 1,) the same of the cells of the smooth calibration error."""
        return np.searchsorted(bin_index(self.confidence, CELLS), np.arange(CELLS + 1))


class Tally:
    """Sums over R resamples of n examples.

    Args:
        ordered: the examples.
        counts: (R, n) float64, how often each of them is in each resample; each row sums to n.
    """

    def __init__(self, ordered: Ordered, counts: Floats) -> None:
        self.ordered, self.counts = ordered, counts
        self.n = len(ordered)
        self._starts = self.n * np.arange(len(counts))[:, None]
        self._found: dict[Any, Any] = {}

    @staticmethod
    def whole(scores: Scores, n_bins: int = N_BINS) -> Tally:
        """The sample itself: R = 1."""
        return Ordered.of(scores, n_bins).whole

    def mean(self, values: Floats) -> Floats:
        """Return the mean in each resample of what the ordered examples contribute, (n,): (R,)."""
        result: Floats = self.counts @ values / self.n
        return result

    def once(self, family: Callable[[Tally], dict[str, Floats]]) -> dict[str, Floats]:
        """Return what a function measures on these resamples, measured once: figures that share their sums come together."""
        if family not in self._found:
            self._found[family] = family(self)
        found: dict[str, Floats] = self._found[family]
        return found

    @cached_property
    def passed(self) -> Floats:
        """(R * n + 1,) how many were passed."""
        return _running(self.counts)

    @cached_property
    def hits(self) -> Floats:
        """(R * n + 1,) how many of these are right."""
        return _running(self.counts * self.ordered.correct)

    @cached_property
    def gaps(self) -> Floats:
        """(R * n + 1,) their sum of correct - confidence."""
        return _running(self.counts * (self.ordered.correct - self.ordered.confidence))

    def at(self, line: Floats, positions: npt.ArrayLike) -> Floats:
        """Return a line's sums up to positions (P,) from 0 to n in each resample: (R, P)."""
        result: Floats = line[self._starts + np.asarray(positions)] - line[self._starts]
        return result

    def shared(self, line: Floats, positions: npt.ArrayLike) -> Floats:
        """Return `at` for counts of passed examples (P,) instead of places: examples of a group share their mean, (R, P)."""
        knots = np.concatenate([[0], (self._starts + self.ordered.ends + 1).ravel()])
        wanted = (self._starts + np.asarray(positions)).ravel()
        found = np.interp(wanted, self.passed[knots], line[knots]).reshape(len(self.counts), -1)
        result: Floats = found - line[self._starts]
        return result

    @cached_property
    def kept(self) -> Floats:
        """(R, G + 1) examples that are left when all groups before this edge are refused: from n to 0."""
        return self.n - self.at(self.passed, self.ordered.groups)

    @cached_property
    def wrong(self) -> Floats:
        """(R, G + 1) how many of `kept` are wrong."""
        right = self.at(self.hits, self.ordered.groups)
        return self.kept - (right[:, -1:] - right)


Function = Callable[[Tally], Floats]
"""A figure in each of R resamples, (R,); NaN where a resample does not define it."""


def part(family: Callable[[Tally], dict[str, Floats]], name: str) -> Function:
    """Return one figure of a family that is measured together."""
    return lambda tally: tally.once(family)[name]


def _running(values: Floats) -> Floats:
    """Running sums over all rows as one line, from 0: (rows, n) -> (rows * n + 1,)."""
    return np.concatenate([[0.0], np.cumsum(values)])
