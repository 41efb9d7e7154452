"""Intervals by the studentised bootstrap, bootstrap-t (Efron & Tibshirani 1993, section 12.5).

Of each resample one takes t = (figure - figure of the sample) / its standard error, and with the quantiles of these the
interval is figure - t_high * error ... figure - t_low * error, with the sample's own standard error. Losses of a good model are
skewed: a sample that happens to have few errors has a small mean and a small spread, too. Percentiles of the mean know nothing
of that and end too early; t does.

Few examples have too few different resamples (of two, half are one of them twice), and where most are alike, as sizes of sets
are, quantiles of t end at the wrong one of few steps: below `ENOUGH` the interval also has in it Student's, as if they were
normal. Of contributions that are 0 or 1 it then holds the mean in at least 86 % of samples, whichever the share of ones (a
test counts them); by resamples alone in 66 %. Below `FEW` it also has in it what may have gone unseen, as far as a figure has
ends, and whatever they are below `FEWEST`; where all are alike there is nothing else (`unseen`). One example alone says nothing
of the spread: its interval is the whole range of the figure.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from bayespeft.report.binning import Floats
from bayespeft.report.metric import Metric
from bayespeft.report.unseen import ALIKE, alike, unseen

ENOUGH = 100
"""From so many examples on, resamples alone tell how far a figure may be off."""

FEW = 10
"""So few examples may well have none of a kind that is a third of all, such as the wrong answers."""

FEWEST = 4
"""So few losses of a good model say nothing of how large others are: Student's held in 82 % of samples of two."""


def deviates(draws: Floats, errors: Floats, value: float | Floats, error: float | Floats) -> Floats:
    """Return t of each resample, (R, ...); NaN where the figure is not defined.

    A resample without any spread, as there are among few examples, counts with the sample's.

    Args:
        draws: (R, ...) the figure, or figures, on each resample.
        errors: (R, ...) its standard error there.
        value: the figure of the sample.
        error: its standard error.
    """
    # A spread is a difference of squares, whose rounding may leave a root of 1e-9 of what has none.
    scale = np.where(errors > ALIKE * np.asarray(error), errors, error)
    return np.divide(draws - value, scale, out=np.zeros_like(draws), where=scale > 0)


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
    *,
    size: float = 1.0,
    weight: float = 1.0,
    others: tuple[float, float] | None = None,
) -> Metric:
    """Return a figure with its interval.

    Args:
        value: of the sample.
        error: its standard error.
        draws: (R,) `deviates` of resamples; those that are NaN are left out.
        level: coverage that the interval aims at.
        rows: examples that the figure is of.
        least, most: ends of the figure's range.
        size: of what an example contributes, for telling a spread from rounding.
        weight: see `unseen`.
        others: ends of what examples that were not seen may contribute, where a kind of them was not; left out, all kinds were
            if they are `FEW` or more, and the ends are those of the figure's range.
    """
    if rows < 2:
        return Metric(value, min(least, value), max(most, value))
    reach = (least, most) if others is None else others
    if alike(error, rows, size):
        return unseen(value, rows, level, reach[0], reach[1], weight)
    defined = draws[~np.isnan(draws)]
    low, high = middle(defined, level) if len(defined) else (0.0, 0.0)
    if rows < ENOUGH:
        student = float(stdtrit(rows - 1, (1 + level) / 2)) * (rows / (rows - 1)) ** 0.5
        low, high = min(low, -student), max(high, student)
    ends = max(value - high * error, least), min(value - low * error, most)
    if rows < FEW or others is not None:
        below, above = (end if math.isfinite(end) or rows < FEWEST else value for end in reach)
        missed = unseen(value, rows, level, below, above, weight)
        ends = min(ends[0], missed.low), max(ends[1], missed.high)
    # Rounding, or few resamples, can leave the value just outside.
    return Metric(value, min(ends[0], value), max(ends[1], value))
