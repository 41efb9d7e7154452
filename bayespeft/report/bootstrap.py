"""Intervals for all metrics at once, by resampling examples with replacement (Efron & Tibshirani 1993, chapter 13).

A mean over examples, and a smooth function of such means, gets the percentile interval: it covers the population's figure.
Proportions have an interval of their own (`proportions`), and so have calibration errors, which resampling biases upward
(`deviation`). Figures that neither fits, such as the largest error of a bin, have none. In how many of simulated samples each
interval covers its target stands in paper_repro.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bayespeft.errors import ConfigError
from bayespeft.report.binning import N_BINS, Floats, bin_index
from bayespeft.report.deviation import deviation
from bayespeft.report.fractions import check_fraction
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.calibration import ece_figures
from bayespeft.report.metrics.examples import Scores
from bayespeft.report.metrics.tally import Ordered, Tally
from bayespeft.report.proportions import proportion

METRICS = ("accuracy", "nll", "ece", "ece_equal_mass", "brier")

# Random numbers and sums are made for this many examples at a time: it bounds memory, and stays within the cache.
CHUNK = 1 << 17

Figures = Callable[[Tally], dict[str, Floats]]
"""A family of figures: (R,) or (R, P) each, NaN where a resample does not define one."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Figures of the sample and of its resamples.

    Attributes:
        values: () or (P,).
        draws: (R,) or (R, P).
        level: coverage that each interval aims at.
    """

    values: Floats
    draws: Floats
    level: float

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
        return _interval(value, defined if len(defined) else np.array([value]), self.level)


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
    ordered = Ordered.of(scores, n_bins)
    return headline(ordered, measure(ordered, {basic: resamples}, level=level, seed=seed))


def headline(ordered: Ordered, found: Mapping[str, Interval]) -> dict[str, Metric]:
    """Return `METRICS` with their intervals, from what `measure` found of the family `basic`."""
    n, level = len(ordered), found["accuracy"].level
    square = float(((ordered.correct - ordered.confidence) ** 2).mean())
    errors = {
        name: deviation(float(found[name].values), found[f"{name}_distance"].draws, square, n, level)
        for name in ("ece", "ece_equal_mass")
    }
    return {
        "accuracy": proportion(float(found["accuracy"].values), n, level),
        "nll": found["nll"].metric,
        **errors,
        "brier": found["brier"].metric,
    }


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
    return {name: Interval(values[name], draws[name], level) for name in values}


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
    for rows, drawn in resampled_counts(len(values), resamples, np.random.default_rng(seed)):
        draws[rows] = drawn @ values / len(values)
    means = values.mean(axis=0)
    return {name: _interval(float(mean), own, level) for name, mean, own in zip(scores, means, draws.T, strict=True)}


def explained(
    losses: Floats, base: Floats, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Metric | None:
    """Return 1 - mean loss / mean base loss, averaged over columns, with its percentile interval.

    Args:
        losses: (n, d) of each example.
        base: (n, d) of a simpler answer. Columns whose mean is 0 are left out; None where all are.
        level: coverage that the interval aims at.
        resamples: number of bootstrap samples.
        seed: the result is a function of the losses and of this.

    Raises:
        ConfigError: `level` is not in (0, 1), or `resamples` is below 1.
    """
    _check(level)
    defined = base.mean(axis=0) > 0
    losses, base = losses[:, defined], base[:, defined]
    if not defined.any():
        return None
    draws = np.empty(max(resamples, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        for rows, drawn in resampled_counts(len(losses), resamples, np.random.default_rng(seed)):
            draws[rows] = (1 - (drawn @ losses) / (drawn @ base)).mean(axis=1)
    # A resample without any base loss defines no figure.
    return Interval(
        np.array((1 - losses.mean(0) / base.mean(0)).mean()), np.where(np.isfinite(draws), draws, np.nan), level
    ).metric


def replicates(scores: Scores, *, n_bins: int = N_BINS, resamples: int = 1000, seed: int = 0) -> dict[str, Floats]:
    """Return each of `METRICS` on each bootstrap sample, arrays of shape (resamples,).

    Raises:
        ConfigError: `resamples` or `n_bins` is below 1.
    """
    found = _draws(Ordered.of(scores, n_bins), {basic: resamples}, seed)
    return {name: found[name] for name in METRICS}


def basic(tally: Tally) -> dict[str, Floats]:
    """Return `METRICS`, and what `deviation` wants of the errors among them, in each resample: (R,) each."""
    means = tally.means
    return {"accuracy": means[:, 0], "nll": means[:, 1], "brier": means[:, 2], **ece_figures(tally)}


def resampled_counts(n: int, resamples: int, rng: np.random.Generator) -> Iterator[tuple[slice, Floats]]:
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
    for rows, drawn in resampled_counts(len(ordered), max(families.values()), np.random.default_rng(seed)):
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
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}: a quantile must be between 0 and 1, e.g. 0.95.")
    return float(np.quantile(_simulated(confidence, 0.0, n_bins, resamples, seed), level))


def ece_power(
    confidence: Floats, noise: float, points: float, *, n_bins: int = N_BINS, resamples: int = 1000, seed: int = 0
) -> float:
    """Return in which share of samples an over-confidence of `points` has an ECE above `noise`: the power of the test.

    Outcomes are drawn with the probability of each confidence (n,) less `points`, and not below 0.

    Raises:
        ConfigError: `resamples` or `n_bins` is below 1.
    """
    return float((_simulated(confidence, points, n_bins, resamples, seed) > noise + 1e-9).mean())


def _simulated(confidence: Floats, points: float, n_bins: int, resamples: int, seed: int) -> Floats:
    """The ECEs of samples of a model whose accuracy is its confidence less `points`, (resamples,)."""
    n = len(confidence)
    ordered = np.sort(confidence)
    edges = np.searchsorted(bin_index(ordered, n_bins), np.arange(n_bins + 1))
    rng = np.random.default_rng(seed)
    out = np.empty(max(resamples, 0))
    for rows in _chunks(resamples, n):
        size = rows.stop - rows.start
        gaps = np.concatenate([[0.0], np.cumsum((rng.random((size, n)) < ordered - points) - ordered)])
        out[rows] = np.abs(np.diff(gaps[n * np.arange(size)[:, None] + edges], axis=1)).sum(axis=1) / n
    return out


def _check(level: float) -> None:
    check_fraction("level", level, "an interval's coverage", 0.95)


def _interval(value: float, draws: Floats, level: float) -> Metric:
    low, high = (float(q) for q in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
    # A very skewed metric (one example with a huge loss), few resamples or rounding can leave the value just outside.
    return Metric(value, min(low, value), max(high, value))


def _chunks(resamples: int, n: int) -> Iterator[slice]:
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}: the bootstrap needs at least 1 (usual: 1000).")
    step = max(CHUNK // n, 1)
    for start in range(0, resamples, step):
        yield slice(start, min(start + step, resamples))
