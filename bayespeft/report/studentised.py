"""Intervals by the studentised bootstrap, bootstrap-t (Efron & Tibshirani 1993, section 12.5).

Of each resample one takes t = (figure - figure of the sample) / its standard error, and with the quantiles of these the
interval is figure - t_high * error ... figure - t_low * error, with the sample's own standard error. Losses of a good model are
skewed: a sample that happens to have few errors has a small mean and a small spread, too. Percentiles of the mean know nothing
of that and end too early; t does.

Fewer than four examples have too few different resamples (of two, half are one of them twice): their interval also has in it
Student's, as if they were normal. One alone says nothing of the spread: its interval is the whole range of the figure.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from bayespeft.report.binning import Floats
from bayespeft.report.metric import Metric

# From so many examples on, resamples alone tell how far a figure may be off.
ENOUGH = 4


def deviates(draws: Floats, errors: Floats, value: float | Floats, error: float | Floats) -> Floats:
    """Return t of each resample, (R, ...); NaN where the figure is not defined.

    A resample without any spread, as there are among few examples, counts with the sample's.

    Args:
        draws: (R, ...) the figure, or figures, on each resample.
        errors: (R, ...) its standard error there.
        value: the figure of the sample.
        error: its standard error.
    """
    scale = np.where(errors > 1e-12, errors, error)
    return np.divide(draws - value, scale, out=np.zeros_like(draws), where=scale > 1e-12)


def middle(draws: Floats, level: float) -> tuple[float, float]:
    """Return the ends between which another draw falls with probability `level`, however few the draws (R,) are.

    R draws cut the line into R + 1 parts that are equally probable (Weibull's plotting positions); numpy's own quantiles would
    make R - 1 of them, and an interval that is too short.
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="weibull")
    return float(low), float(high)


def studentised(
    value: float,
    error: float,
    draws: Floats,
    level: float,
    rows: int,
    least: float = -math.inf,
    most: float = math.inf,
) -> Metric:
    """Return a figure with its interval.

    Args:
        value: of the sample.
        error: its standard error.
        draws: (R,) `deviates` of resamples; those that are NaN are left out.
        level: coverage that the interval aims at.
        rows: examples that the figure is of.
        least, most: ends of the figure's range.
    """
    if rows < 2:
        return Metric(value, min(least, value), max(most, value))
    defined = draws[~np.isnan(draws)]
    low, high = middle(defined, level) if len(defined) else (0.0, 0.0)
    if rows < ENOUGH:
        reach = float(stdtrit(rows - 1, (1 + level) / 2)) * (rows / (rows - 1)) ** 0.5
        low, high = min(low, -reach), max(high, reach)
    ends = max(value - high * error, least), min(value - low * error, most)
    # Rounding, or few resamples, can leave the value just outside.
    return Metric(value, min(ends[0], value), max(ends[1], value))
