"""Intervals of average precision and of FPR95, `metrics.detection`'s figures of how well a score finds examples of another set.

An average precision is a fraction whose variance follows from its influence function, and has the interval that `clustered`
gives such fractions.

FPR95 has two sources of error, each with an exact interval of its own, which are squared and added (Zou & Donner 2008,
Statistics in Medicine 27(10)): the threshold, as a quantile of the positives, lies between two of their order statistics
whatever their law (David & Nagaraja 2003, Order Statistics, section 7.1); the share of negatives above a given threshold has
Clopper's and Pearson's. It covers at least as stated, and widely where positives are few.
"""

from __future__ import annotations

import math

import numpy as np

from bayespeft.report.binning import Floats
from bayespeft.report.clustered import fraction_of_variance
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.detection import RECALL, average_precision, false_positive_rate, order
from bayespeft.report.proportions import exact


def precision_interval(negatives: Floats, positives: Floats, level: float = 0.95) -> Metric:
    """Return `average_precision` with its interval, for a population that has as many positives to a negative.

    Args:
        negatives: (n,) scores.
        positives: (m,) scores.
        level: coverage that the interval aims at.

    Raises:
        DataError: see `detection.auroc`.
    """
    value = average_precision(negatives, positives)
    n, m = len(negatives), len(positives)
    found, starts = order(negatives, positives)
    # Per group of equal scores, highest first: positives in it, and both kinds up to it.
    own = np.add.reduceat((found >= n).astype(np.float64), starts)
    flagged = np.append(starts[1:], n + m).astype(np.float64)
    hits = own.cumsum()
    # One more of a kind raises or lowers the precision of its group and of all below.
    higher, lower = ((own * part / flagged**2)[::-1].cumsum()[::-1] for part in (flagged - hits, hits))
    group = np.empty(n + m, dtype=np.intp)
    group[found] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, n + m)))
    gain = (hits / flagged + higher)[group[n:]] / m
    loss = lower[group[:n]] / m
    variance = float(sum(((part - part.mean()) ** 2).sum() for part in (gain, loss)))
    return fraction_of_variance(value, variance, min(n, m), n + m, level)


def alarm_interval(negatives: Floats, positives: Floats, level: float = 0.95) -> Metric:
    """Return `false_positive_rate` with its interval.

    Args:
        negatives: (n,) scores.
        positives: (m,) scores.
        level: coverage that the interval has at least, up to the adding of squares.

    Raises:
        DataError: see `detection.auroc`.
    """
    from scipy.stats import binom  # slow to import

    value = false_positive_rate(negatives, positives)
    rising, m, tail = np.sort(positives), len(positives), (1 - level) / 2
    # The k-th least is above the quantile only if fewer than k positives are below it; k = 0 where none is sure enough.
    below = int(binom.ppf(tail, m, 1 - RECALL))
    above = int(binom.ppf(1 - tail, m, 1 - RECALL)) + 1
    most = 1.0 if below < 1 else float((negatives >= rising[below - 1]).mean())
    least = 0.0 if above > m else float((negatives >= rising[above - 1]).mean())
    low, high = exact(value, len(negatives), level)
    down, up = math.hypot(max(value - least, 0.0), value - low), math.hypot(max(most - value, 0.0), high - value)
    return Metric(value, max(value - down, 0.0), min(value + up, 1.0))
