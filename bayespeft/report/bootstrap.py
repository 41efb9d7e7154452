"""Intervals for all metrics at once, by resampling examples with replacement (Efron & Tibshirani 1993, chapter 13).

A metric that is a mean over examples gets the percentile interval. A binned calibration error is biased upward by
resampling: each bin's gap gains noise, and |.| turns noise into error. Its percentile interval would lie above the
reported value, so it is shifted by the bootstrap's own estimate of that bias,

    [q_low - bias, q_high - bias],        bias = mean over resamples of ECE* - ECE,

and clipped to [0, 1]. It says how much the *reported* ECE would vary with another sample of this size: in simulations
(200 to 4000 examples, calibrated and over-confident models) it held the expected reported ECE in 92 to 99 % of cases.
It is no interval for the true calibration error. For a finite sample the reported ECE is itself too high, so that the
interval of a perfectly calibrated model hardly ever reaches 0; whether there is any error at all, `ece_noise` tells.

An interval without width (n = 1, or no errors at all) says that the sample shows no variation, not that there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayespeft.errors import ConfigError
from bayespeft.report.binning import (
    N_BINS,
    Floats,
    bin_index,
    equal_mass_error,
    equal_width_error,
    mass_edges,
    tie_ends,
)
from bayespeft.report.metrics import Scores

METRICS = ("accuracy", "nll", "ece", "ece_equal_mass", "brier")

# Random numbers and sums are made for this many examples at a time: it bounds memory, and stays within the cache.
CHUNK = 1 << 17


@dataclass(frozen=True, slots=True)
class Metric:
    """A number with its interval; `low <= value <= high`."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict[str, float]:
        """Return value, low and high."""
        return {"value": self.value, "low": self.low, "high": self.high}


def intervals(
    scores: Scores, *, n_bins: int = N_BINS, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> dict[str, Metric]:
    """Return all of `METRICS` with intervals, from the same resamples.

    Args:
        scores: per-example scores, from `metrics.example_scores`.
        n_bins: bins of the two calibration errors.
        level: coverage that each interval aims at.
        resamples: number of bootstrap samples.
        seed: the result is a function of the scores and of this.

    Raises:
        ConfigError: `level` is not in (0, 1), or `resamples` or `n_bins` is below 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}: an interval's coverage must be between 0 and 1, e.g. 0.95.")
    draws = replicates(scores, n_bins=n_bins, resamples=resamples, seed=seed)
    values = {
        "accuracy": float(scores.correct.mean()),
        "nll": float(scores.nll.mean()),
        "ece": equal_width_error(scores.confidence, scores.correct, n_bins),
        "ece_equal_mass": equal_mass_error(scores.confidence, scores.correct, n_bins),
        "brier": float(scores.brier.mean()),
    }
    return {name: _interval(values[name], draws[name], level, binned=name.startswith("ece")) for name in METRICS}


def replicates(
    scores: Scores, *, n_bins: int = N_BINS, resamples: int = 1000, seed: int = 0
) -> dict[str, npt.NDArray[np.float64]]:
    """Return each of `METRICS` on each bootstrap sample, arrays of shape (resamples,).

    Nothing is sorted or scored again: a resample is a vector of counts over the examples in order of confidence, and
    both calibration errors are read off the running sums of counts and of counts * (correct - confidence).

    Raises:
        ConfigError: `resamples` or `n_bins` is below 1.
    """
    n = len(scores)
    order = np.argsort(scores.confidence, kind="stable")
    confidence, correct = scores.confidence[order], scores.correct[order]
    means = np.stack([correct, scores.nll[order], scores.brier[order]], axis=1)
    ends, width_edges, edges = tie_ends(confidence), _width_edges(confidence, n_bins), mass_edges(n, n_bins)
    rng = np.random.default_rng(seed)
    out = np.empty((resamples, len(METRICS)))
    for rows in _chunks(resamples, n):
        size = rows.stop - rows.start
        # All resamples of a chunk are laid out on one line of size * n examples: one bincount, one interpolation.
        offsets = n * np.arange(size)[:, None]
        picks = rng.integers(0, n, size=(size, n)) + offsets
        counts = np.bincount(picks.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        gaps = _running(counts * (correct - confidence))
        last = offsets + ends + 1
        at_mass = np.interp((offsets + edges).ravel(), _with_zero(_running(counts)[last]), _with_zero(gaps[last]))
        out[rows, :3] = counts @ means
        out[rows, 3] = _total(gaps[offsets + width_edges])
        out[rows, 4] = _total(at_mass.reshape(size, -1))
    names = ("accuracy", "nll", "brier", "ece", "ece_equal_mass")
    return {name: out[:, names.index(name)] / n for name in METRICS}


def ece_noise(
    confidence: Floats, *, n_bins: int = N_BINS, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> float:
    """Return the ECE that sampling noise alone reaches: a quantile of the ECE of a perfectly calibrated model.

    Outcomes are drawn as if each confidence (n,) were true, correct ~ Bernoulli(confidence), and the ECE is measured
    on each such sample, as in the consistency resampling of Bröcker & Smith 2007 (Weather and Forecasting 22(3)).
    A measured ECE up to this value is no evidence against calibration, at the significance level 1 - `level`.

    Raises:
        ConfigError: `level` is not in (0, 1), or `resamples` or `n_bins` is below 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}: a quantile must be between 0 and 1, e.g. 0.95.")
    n = len(confidence)
    ordered = np.sort(confidence)
    edges = _width_edges(ordered, n_bins)
    rng = np.random.default_rng(seed)
    out = np.empty(resamples)
    for rows in _chunks(resamples, n):
        size = rows.stop - rows.start
        gaps = _running((rng.random((size, n)) < ordered) - ordered)
        out[rows] = _total(gaps[n * np.arange(size)[:, None] + edges]) / n
    return float(np.quantile(out, level))


def _interval(value: float, draws: Floats, level: float, *, binned: bool) -> Metric:
    low, high = (float(q) for q in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
    if binned:
        bias = float(draws.mean()) - value
        low, high = max(low - bias, 0.0), min(high - bias, 1.0)
    # A very skewed metric (one example with a huge loss), few resamples or rounding can leave the value just outside.
    return Metric(value, min(low, value), max(high, value))


def _chunks(resamples: int, n: int) -> Iterator[slice]:
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}: the bootstrap needs at least 1 (usual: 1000).")
    step = max(CHUNK // n, 1)
    for start in range(0, resamples, step):
        yield slice(start, min(start + step, resamples))


def _width_edges(ordered: Floats, n_bins: int) -> npt.NDArray[np.intp]:
    """Where each equal-width bin begins among ordered confidences, and where the last one ends."""
    return np.searchsorted(bin_index(ordered, n_bins), np.arange(n_bins + 1))


def _running(values: Floats) -> Floats:
    """Running sums over all rows as one line, from 0: (rows, n) -> (rows * n + 1,)."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _with_zero(values: Floats) -> Floats:
    return np.concatenate([[0.0], values.ravel()])


def _total(at_edges: Floats) -> Floats:
    """Sum over bins of |gap| from running sums at the bins' edges: (rows, n_bins + 1) -> (rows,)."""
    total: Floats = np.abs(np.diff(at_edges, axis=1)).sum(axis=1)
    return total
