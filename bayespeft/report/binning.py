"""Examples in bins of confidence: the bins of both calibration errors and of the reliability diagram.

All functions take per-example arrays of shape (n,): `confidence` in [0, 1], and `correct`, 1.0 or 0.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayespeft.errors import ConfigError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

N_BINS = 15
"""Bins of both calibration errors, as in Guo et al. 2017."""

CELLS = 1024
"""Cells of the smooth calibration error, which confidences are rounded to: its bandwidth, and so the error, are known to about
1 / 1024.
"""


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a reliability diagram: `count` examples with a confidence in [low, high).

    The last bin includes its upper edge, 1. `confidence` and `accuracy` are means; both are None in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def bin_index(confidence: Floats, n_bins: int = N_BINS) -> Ints:
    """Return the equal-width bin of each confidence: i for [i / n_bins, (i + 1) / n_bins), the last one closed.

    The edges are the float64 numbers nearest to i / n_bins, and a confidence is what float64 makes of the exponential
    of its log: a confidence meant to be exactly at an edge may be on either side of it.
    """
    inner = bin_edges(n_bins)[1:-1]
    return np.searchsorted(inner, confidence, side="right").astype(np.int64)


def bin_edges(n_bins: int = N_BINS) -> Floats:
    """Return the n_bins + 1 edges from 0 to 1 of the equal-width bins."""
    if n_bins < 1:
        raise ConfigError(f"n_bins is {n_bins}: a calibration error needs at least 1 bin (usual: {N_BINS}).")
    return np.arange(n_bins + 1) / n_bins


def equal_width_error(confidence: Floats, correct: Floats, n_bins: int = N_BINS) -> float:
    """Return `ece` from per-example confidences and outcomes, both (n,)."""
    gaps = np.bincount(bin_index(confidence, n_bins), weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def equal_mass_error(confidence: Floats, correct: Floats, n_bins: int = N_BINS) -> float:
    """Return `ece_equal_mass` from per-example confidences and outcomes, both (n,)."""
    n = len(confidence)
    order = np.argsort(confidence, kind="stable")
    ends = tie_ends(confidence[order])
    # The running sum of (correct - confidence), as a function of how many examples were passed: linear within a group
    # of ties, which is what it means that each of them counts with their mean.
    gaps = np.concatenate([[0.0], np.cumsum((correct - confidence)[order])[ends]])
    return float(np.abs(np.diff(np.interp(mass_edges(n, n_bins), np.concatenate([[0], ends + 1]), gaps))).sum() / n)


def mass_edges(n: int, n_bins: int = N_BINS) -> Ints:
    """Return the n_bins + 1 positions from 0 to n that cut n sorted examples into bins of equal mass."""
    bin_edges(n_bins)
    return np.arange(n_bins + 1, dtype=np.int64) * n // n_bins


def tie_ends(ordered: Floats) -> Ints:
    """Return the index of the last example of each group of equal values in an ordered array (n,)."""
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)).astype(np.int64)


def score_bins(confidence: Floats, correct: Floats, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Return `bins` from per-example confidences and outcomes, both (n,)."""
    edges, index = bin_edges(n_bins), bin_index(confidence, n_bins)
    counts = np.bincount(index, minlength=n_bins)
    sums = np.bincount(index, weights=confidence, minlength=n_bins)
    hits = np.bincount(index, weights=correct, minlength=n_bins)
    return tuple(
        Bin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            count=int(count),
            confidence=float(sums[i] / count) if count else None,
            accuracy=float(hits[i] / count) if count else None,
        )
        for i, count in enumerate(counts)
    )


def kept_at(coverage: float, n: int) -> int:
    """Return how many of n examples a coverage keeps: ceil(coverage n)."""
    # 0.8 * 5 is above 4 in floating point; no fraction that is meant is so near to a whole number.
    return int(np.ceil(coverage * n - 1e-9))
