"""Intervals of proportions, such as an accuracy: never without width, even where all are right."""

from __future__ import annotations

from scipy.special import betaincinv

from bayespeft.report.metric import Metric


def exact(fraction: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a proportion observed among n (Clopper & Pearson 1934, Biometrika 26).

    It covers the proportion of the population in at least `level` of samples, for any n and any proportion. A number of
    hits that is not whole, a mean over ties or over outputs that err together, is taken as it is.
    """
    hits, tail = fraction * n, (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    # Rounding may leave the fraction just outside.
    return min(low, fraction), max(high, fraction)


def proportion(fraction: float, n: float, level: float = 0.95) -> Metric:
    """Return a proportion observed among n with its `exact` interval."""
    return Metric(fraction, *exact(fraction, n, level))
