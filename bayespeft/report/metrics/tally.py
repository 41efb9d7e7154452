"""Examples in order of confidence, and what resamples of them sum to: every figure is a function of such sums.

A resample is a vector of counts over the examples, so that nothing is sorted or scored again; the figure of the sample
itself is that of counts of 1. All sums are read off running sums in order of confidence. R resamples are laid out on one
line of R * n examples: one running sum, one interpolation for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bayespeft.report.binning import N_BINS, Floats, Ints, bin_edges, bin_index, mass_edges, tie_ends
from bayespeft.report.metrics.examples import Scores
from bayespeft.report.metrics.smooth import CELLS

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Ordered:
    """Scores with the least confident example first. Examples of equal confidence form a group.

    Attributes:
        order: (n,) which example stands where.
        confidence: (n,) ascending.
        correct: (n,) 1.0 or 0.0.
        means: (n, 4) correct, nll, brier and confidence - correct.
        ends: (G,) the last example of each group.
        n_bins: bins of the binned figures.
    """

    order: Positions
    confidence: Floats
    correct: Floats
    means: Floats
    ends: Ints
    n_bins: int = N_BINS

    @classmethod
    def of(cls, scores: Scores, n_bins: int = N_BINS) -> Ordered:
        """Sort scores; the order among equals is that of the examples.

        Raises:
            ConfigError: fewer than one bin.
        """
        bin_edges(n_bins)
        order = np.argsort(scores.confidence, kind="stable")
        confidence, correct = scores.confidence[order], scores.correct[order]
        means = np.stack([correct, scores.nll[order], scores.brier[order], confidence - correct], axis=1)
        return cls(order, confidence, correct, means, tie_ends(confidence), n_bins)

    def __len__(self) -> int:
        return len(self.confidence)

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

    @classmethod
    def whole(cls, scores: Scores, n_bins: int = N_BINS) -> Tally:
        """The sample itself: R = 1."""
        return cls(Ordered.of(scores, n_bins), np.ones((1, len(scores))))

    @cached_property
    def means(self) -> Floats:
        """(R, 4) means of `Ordered.means`."""
        result: Floats = self.counts @ self.ordered.means / self.n
        return result

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


def _running(values: Floats) -> Floats:
    """Running sums over all rows as one line, from 0: (rows, n) -> (rows * n + 1,)."""
    return np.concatenate([[0.0], np.cumsum(values)])
