"""Metrics with their intervals, by resampling examples with replacement (Efron & Tibshirani 1993, chapter 13).

Which metrics there are says `metrics.spec`, and what their intervals cover `metrics.intervals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from bayespeft.errors import ConfigError
from bayespeft.report.binning import N_BINS, Floats, bin_index
from bayespeft.report.fractions import check_fraction
from bayespeft.report.metric import Figure, Metric
from bayespeft.report.metrics.examples import Scores
from bayespeft.report.metrics.spec import MetricSpec, table
from bayespeft.report.metrics.tally import Function, Ordered, Tally
from bayespeft.report.studentised import deviates, studentised

# Random numbers and sums are made for this many examples at a time: it bounds memory, and stays within the cache.
CHUNK = 1 << 17

# Examples times resamples are at most MOST: with more examples fewer resamples tell as much, because the figures are then all
# but normal. There are at least FEW resamples: the ends of a 95 % interval are then the second and third from either side.
MOST, FEW = 30_000_000, 100

# Class-wise metrics may take WORK products of numbers: with many examples and classes they are computed on fewer resamples, but
# on FEWEST at least, so that a report takes seconds.
WORK, FEWEST = 500_000_000, 50


def intervals(
    scores: Scores,
    specs: Sequence[MetricSpec] | None = None,
    *,
    n_bins: int = N_BINS,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Figure]:
    """Return metrics by name, from the same resamples: with an interval where there is one, None where it is not defined.

    Args:
        scores: per-example scores, from `metrics.example_scores`.
        specs: which metrics; left out, all there are.
        n_bins: bins of the binned ones.
        level: coverage that each interval aims at.
        resamples: number of bootstrap samples. Class-wise metrics, which take n K numbers each time, are computed on the first
            of them only where all would take too long.
        seed: the result is a function of the scores and of this.

    Raises:
        ConfigError: `level` is not in (0, 1), or `resamples` or `n_bins` is below 1.
    """
    _check(level)
    specs = table() if specs is None else specs
    ordered = Ordered.of(scores, n_bins)
    resamples = affordable(resamples, len(ordered))
    few = min(resamples, max(WORK // (len(scores) * scores.classes), FEWEST))
    resampled = {spec.name: spec.interval.resampled(spec) for spec in specs if spec.interval is not None}
    wanted = {
        spec.name: (function, few if spec.classwise else resamples)
        for spec in specs
        if (function := resampled.get(spec.name)) is not None
    }
    draws = replicates(ordered, wanted, resamples=resamples, seed=seed)
    found: dict[str, Figure] = {}
    for spec in specs:
        value = float(spec(ordered.whole)[0])
        if np.isnan(value):
            found[spec.name] = None
        elif spec.interval is None:
            found[spec.name] = value
        else:
            found[spec.name] = spec.interval(value, draws.get(spec.name, np.empty(0)), ordered, level)
    return found


def replicates(
    ordered: Ordered, functions: Mapping[str, tuple[Function, int]], *, resamples: int, seed: int = 0
) -> dict[str, Floats]:
    """Return figures on bootstrap samples, by name.

    Args:
        ordered: the examples.
        functions: name -> the figure, and on how many of the samples, the first ones, it is computed.
        resamples: number of samples.
        seed: the result is a function of the examples and of this.

    Raises:
        ConfigError: `resamples` is below 1.
    """
    parts: dict[str, list[Floats]] = {name: [] for name in functions}
    for rows, drawn in resampled_counts(len(ordered), resamples, np.random.default_rng(seed)):
        tally = Tally(ordered, drawn)
        for name, (function, most) in functions.items():
            if rows.start < most:
                parts[name].append(function(tally))
    return {name: np.concatenate(found) for name, found in parts.items()}


def mean_intervals(
    scores: Mapping[str, Floats],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Metric]:
    """Return the means of scores with studentised intervals, by name, from the same resamples.

    Args:
        scores: what each example contributes, (n,) each.
        level: coverage that each interval aims at.
        resamples: number of bootstrap samples.
        seed: the result is a function of the scores and of this.
        ranges: name -> ends of what an example may contribute; left out, scores none of which is negative start at 0, as
            squared errors do, and others have no ends.

    Raises:
        ConfigError: `level` is not in (0, 1), or `resamples` is below 1.
    """
    _check(level)
    values = np.stack(list(scores.values()), axis=1)
    n, means, size = len(values), values.mean(axis=0), np.abs(values).max(axis=0)
    ends = {name: (0.0 if values[:, i].min() >= 0 else -np.inf, np.inf) for i, name in enumerate(scores)}
    ends |= ranges or {}
    # In units of the largest: a spread is then told from rounding for targets of any unit.
    unit = np.where(size > 0, size, 1.0)
    values = (values - means) / unit
    error = values.std(axis=0) / n**0.5

    def deviation(drawn: Floats) -> Floats:
        mean = drawn @ values / n
        spread = np.sqrt(np.maximum(drawn @ values**2 / n - mean**2, 0) / n)
        return deviates(mean, spread, 0.0, error)

    draws = on_resamples(n, deviation, resamples, seed)
    return {
        name: studentised(
            float(means[i]), float(error[i] * unit[i]), draws[:, i], level, n, *ends[name], size=float(size[i])
        )
        for i, name in enumerate(scores)
    }


def skill_score(
    losses: Floats, base: Floats, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Metric | None:
    """Return the skill score, 1 - mean loss / mean base loss, averaged over columns, with its studentised interval.

    Args:
        losses: (n, d) of each example.
        base: (n, d) of the answer that it is compared with. Columns whose mean is 0 are left out; None where all are.
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
    value, error = _skill_score(losses, base, np.ones((1, len(losses))))

    def deviation(drawn: Floats) -> Floats:
        return deviates(*_skill_score(losses, base, drawn), float(value[0]), float(error[0]))

    draws = on_resamples(len(losses), deviation, resamples, seed)
    size = max(1.0, abs(1 - float(value[0])))
    return studentised(float(value[0]), float(error[0]), draws, level, len(losses), most=1.0, size=size)


def _skill_score(losses: Floats, base: Floats, drawn: Floats) -> tuple[Floats, Floats]:
    """The figure of `skill_score` on resamples, and its standard error, by the influence (loss - ratio base) / mean base.

    Resamples without any base loss define no figure: NaN.
    """
    n = len(losses)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = n / (drawn @ base)
        ratio = weight * (drawn @ losses) / n
        influence = (losses @ weight.T - base @ (ratio * weight).T).T / losses.shape[1]
        error = np.sqrt((drawn * influence**2).sum(axis=1)) / n
        value = (1 - ratio).mean(axis=1)
    defined = np.isfinite(value)
    return np.where(defined, value, np.nan), np.where(defined, error, np.nan)


def affordable(resamples: int, n: int) -> int:
    """Return how many of the wanted resamples of n examples are made: all, or fewer where examples are very many."""
    return min(resamples, max(MOST // max(n, 1), FEW))


def on_resamples(n: int, figure: Callable[[Floats], Floats], resamples: int, seed: int) -> Floats:
    """Return a figure on the resamples of n examples that are `affordable`, (R, ...).

    Args:
        n: examples.
        figure: how often each example was drawn, (rows, n) -> (rows, ...).
        resamples: how many are wanted.
        seed: of the resamples.

    Raises:
        ConfigError: `resamples` is below 1.
    """
    counts = resampled_counts(n, affordable(resamples, n), np.random.default_rng(seed))
    return np.concatenate([figure(drawn) for _, drawn in counts])


def resampled_counts(n: int, resamples: int, rng: np.random.Generator) -> Iterator[tuple[slice, Floats]]:
    """Yield which resamples, and how often each of n examples is in them, (rows, n).

    Raises:
        ConfigError: `resamples` is below 1.
    """
    for rows in _chunks(resamples, n):
        size = rows.stop - rows.start
        picks = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        yield rows, np.bincount(picks.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


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
    return float(np.quantile(_simulated(confidence, 0.0, n_bins, resamples, seed), level, method="weibull"))


def ece_power(confidence: Floats, noise: float, points: float, *, resamples: int = 1000, seed: int = 0) -> float:
    """Return in which share of samples an over-confidence of `points` has an ECE above `noise`: the power of the test.

    Outcomes are drawn with the probability of each confidence (n,) less `points`, and not below 0.

    Raises:
        ConfigError: `resamples` is below 1.
    """
    return float((_simulated(confidence, points, N_BINS, resamples, seed) > noise + 1e-9).mean())


def _simulated(confidence: Floats, points: float, n_bins: int, resamples: int, seed: int) -> Floats:
    """The ECEs of samples of a model whose accuracy is its confidence less `points`, (resamples,)."""
    n = len(confidence)
    resamples = affordable(resamples, n)
    ordered = np.sort(confidence)
    edges = np.searchsorted(bin_index(ordered, n_bins), np.arange(n_bins + 1))
    rng = np.random.default_rng(seed)
    errors = []
    for rows in _chunks(resamples, n):
        size = rows.stop - rows.start
        gaps = np.concatenate([[0.0], np.cumsum((rng.random((size, n)) < ordered - points) - ordered)])
        errors.append(np.abs(np.diff(gaps[n * np.arange(size)[:, None] + edges], axis=1)).sum(axis=1) / n)
    return np.concatenate(errors)


def _check(level: float) -> None:
    check_fraction("level", level, "an interval's coverage", 0.95)


def _chunks(resamples: int, n: int) -> Iterator[slice]:
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}: the bootstrap needs at least 1 (usual: 1000).")
    step = max(CHUNK // n, 1)
    for start in range(0, resamples, step):
        yield slice(start, min(start + step, resamples))
