"""Intervals for all metrics at once, by resampling examples with replacement (Efron & Tibshirani 1993, chapter 13).

A metric that is a mean over examples gets the percentile interval. A binned calibration error is biased upward by
resampling: each bin's gap gains noise, and |.| turns noise into error. Its percentile interval would lie above the
reported value, so it is shifted by the bootstrap's own estimate of that bias,

    [q_low - bias, q_high - bias],        bias = mean over resamples of ECE* - ECE,

and clipped to its range, as are the other figures of `SHIFTED`. It says how much the *reported* error would vary with
another sample of this size: in simulations of the two ECEs (200 to 4000 examples, calibrated and over-confident models) it
held the expected reported ECE in 92 to 99 % of cases; the other figures' intervals were not simulated.
It is no interval for the true calibration error. For a finite sample the reported ECE is itself too high, so that the
interval of a perfectly calibrated model hardly ever reaches 0; whether there is any error at all, `ece_noise` tells.

An interval without width (n = 1, or no errors at all) says that the sample shows no variation, not that there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bayespeft.errors import ConfigError
from bayespeft.report.binning import N_BINS, Floats, bin_index
from bayespeft.report.fractions import check_fraction
from bayespeft.report.metrics.calibration import ece_figures
from bayespeft.report.metrics.examples import Scores
from bayespeft.report.metrics.tally import Ordered, Tally

METRICS = ("accuracy", "nll", "ece", "ece_equal_mass", "brier")

# Upward biased by resampling, and the most that each can be.
SHIFTED = {
    "ece": 1.0, "ece_equal_mass": 1.0, "ece_classwise": 1.0, "ece_debiased": 1.0, "rms_debiased": 1.0, "mce": 1.0,
    "smooth_ece": 1.0, "brier_reliability": 2.0, "brier_resolution": 1.0,
}  # fmt: skip

# Random numbers and sums are made for this many examples at a time: it bounds memory, and stays within the cache.
CHUNK = 1 << 17

Figures = Callable[[Tally], dict[str, Floats]]
"""A family of figures: (R,) or (R, P) each, NaN where a resample does not define one."""


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


@dataclass(frozen=True, slots=True)
class Interval:
    """Figures of the sample and of its resamples.

    Attributes:
        values: () or (P,).
        draws: (R,) or (R, P).
        level: coverage that each interval aims at.
        top: where resampling biases the figure upwards, the most that it can be.
    """

    values: Floats
    draws: Floats
    level: float
    top: float | None

    @property
    def metric(self) -> Metric:
        """The one figure with its interval.

        Raises:
            ValueError: the sample does not define it; see `optional`.
        """
        metric = self.optional
        if metric is None:
            raise ValueError("the sample does not define this figure.")
        return metric

    @property
    def optional(self) -> Metric | None:
        """The one figure with its interval over the resamples that define it, or None where the sample does not."""
        return self._metric(float(self.values), self.draws)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All P figures."""
        found = (self._metric(float(v), d) for v, d in zip(self.values, self.draws.T, strict=True))
        return tuple(metric for metric in found if metric is not None)

    def _metric(self, value: float, draws: Floats) -> Metric | None:
        if math.isnan(value):
            return None
        defined = draws[~np.isnan(draws)]
        return _interval(value, defined if len(defined) else np.array([value]), self.level, self.top)


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
    found = measure(Ordered.of(scores, n_bins), {basic: resamples}, level=level, seed=seed)
    return {name: found[name].metric for name in METRICS}


def measure(
    ordered: Ordered,
    families: Mapping[Figures, int],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the figures of several families on the sample and on the same resamples, by name.

    Args:
        ordered: the examples.
        families: family of figures -> on how many of the resamples it is computed.
        level: coverage that each interval aims at.
        seed: the result is a function of the scores and of this.

    Raises:
        ConfigError: `level` is not in (0, 1), or there is no resample.
    """
    _check(level)
    whole = Tally(ordered, np.ones((1, len(ordered))))
    values = {name: value[0] for family in families for name, value in family(whole).items()}
    draws = _draws(ordered, families, seed)
    return {name: Interval(values[name], draws[name], level, SHIFTED.get(name)) for name in values}


def mean_intervals(
    scores: Mapping[str, Floats], *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> dict[str, Metric]:
    """Return the means of scores with percentile intervals, by name, from the same resamples.

    Args:
        scores: what each example contributes, (n,) each.
        level: coverage that each interval aims at.
        resamples: number of bootstrap samples.
        seed: the result is a function of the scores and of this.

    Raises:
        ConfigError: `level` is not in (0, 1), or `resamples` is below 1.
    """
    _check(level)
    values = np.stack(list(scores.values()), axis=1)
    draws = np.empty((max(resamples, 0), len(scores)))
    for rows, drawn in _counts(len(values), resamples, np.random.default_rng(seed)):
        draws[rows] = drawn @ values / len(values)
    means = values.mean(axis=0)
    return {
        name: _interval(float(mean), own, level, None) for name, mean, own in zip(scores, means, draws.T, strict=True)
    }


def replicates(scores: Scores, *, n_bins: int = N_BINS, resamples: int = 1000, seed: int = 0) -> dict[str, Floats]:
    """Return each of `METRICS` on each bootstrap sample, arrays of shape (resamples,).

    Raises:
        ConfigError: `resamples` or `n_bins` is below 1.
    """
    found = _draws(Ordered.of(scores, n_bins), {basic: resamples}, seed)
    return {name: found[name] for name in METRICS}


def basic(tally: Tally) -> dict[str, Floats]:
    """Return `METRICS` in each resample: (R,) each."""
    means = tally.means
    return {"accuracy": means[:, 0], "nll": means[:, 1], "brier": means[:, 2], **ece_figures(tally)}


def _counts(n: int, resamples: int, rng: np.random.Generator) -> Iterator[tuple[slice, Floats]]:
    """Yield which resamples, and how often each of n examples is in them, (rows, n).

    Raises:
        ConfigError: `resamples` is below 1.
    """
    for rows in _chunks(resamples, n):
        size = rows.stop - rows.start
        picks = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        yield rows, np.bincount(picks.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _draws(ordered: Ordered, families: Mapping[Figures, int], seed: int) -> dict[str, Floats]:
    found: dict[str, list[Floats]] = {}
    for rows, drawn in _counts(len(ordered), max(families.values()), np.random.default_rng(seed)):
        tally = Tally(ordered, drawn)
        for family, resamples in families.items():
            if rows.start < resamples:
                for name, values in family(tally).items():
                    found.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in found.items()}


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
    check_fraction("level", level, "a quantile", 0.95)
    n = len(confidence)
    ordered = np.sort(confidence)
    edges = np.searchsorted(bin_index(ordered, n_bins), np.arange(n_bins + 1))
    rng = np.random.default_rng(seed)
    out = np.empty(resamples)
    for rows in _chunks(resamples, n):
        size = rows.stop - rows.start
        gaps = np.concatenate([[0.0], np.cumsum((rng.random((size, n)) < ordered) - ordered)])
        out[rows] = np.abs(np.diff(gaps[n * np.arange(size)[:, None] + edges], axis=1)).sum(axis=1) / n
    return float(np.quantile(out, level))


def _check(level: float) -> None:
    check_fraction("level", level, "an interval's coverage", 0.95)


def _interval(value: float, draws: Floats, level: float, top: float | None) -> Metric:
    low, high = (float(q) for q in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
    if top is not None:
        bias = float(draws.mean()) - value
        low, high = max(low - bias, 0.0), min(high - bias, top)
    # A very skewed metric (one example with a huge loss), few resamples or rounding can leave the value just outside.
    return Metric(value, min(low, value), max(high, value))


def _chunks(resamples: int, n: int) -> Iterator[slice]:
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}: the bootstrap needs at least 1 (usual: 1000).")
    step = max(CHUNK // n, 1)
    for start in range(0, resamples, step):
        yield slice(start, min(start + step, resamples))
