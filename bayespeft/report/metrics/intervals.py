"""How metrics get their intervals: from resamples, as proportions, as AUROCs, or by a bound.

A mean over examples, and a smooth function of such means, is resampled and studentised (`studentised`): the interval covers
the population's figure. Proportions have an interval of their own (`proportions`), AUROCs, too (`ranks`), and so have
calibration errors, which resampling biases upward (`deviation`). Figures that none fits, such as the largest error of a bin,
have none, and those of errors have none where there are fewer than five of them. Where all of several examples contribute the
same, there is nothing to resample, and the interval is that of what may have gone unseen (`unseen`). In how many of simulated
samples each interval covers its target stands in paper_repro.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayespeft.report.binning import Floats, kept_at
from bayespeft.report.deviation import deviation
from bayespeft.report.metric import Figure, Metric
from bayespeft.report.metrics.examples import Scores
from bayespeft.report.metrics.tally import Function, Ordered, Tally
from bayespeft.report.proportions import proportion
from bayespeft.report.ranks import rank_interval
from bayespeft.report.studentised import FEW as FEW_ROWS
from bayespeft.report.studentised import deviates, middle, studentised
from bayespeft.report.unseen import ALIKE, alike, unseen

FEWEST = 5
"""Errors, and right answers, without which there is no interval of how confidence ranks them."""


class Interval(ABC):
    """How the interval of a metric is made.

    Attributes:
        lacking: there is none where examples are too few.
    """

    lacking: ClassVar[bool] = False

    def resampled(self, metric: Function) -> Function | None:
        """Return what is to be computed on resamples, which may be the metric; None where nothing is."""
        return None

    @abstractmethod
    def __call__(self, value: float, draws: Floats, ordered: Ordered, level: float) -> Figure:
        """Return the metric's value with its interval, or without one where there are too few examples for it.

        Args:
            value: on the sample.
            draws: (R,) what `resampled` asks for on each resample; (0,) where that is nothing.
            ordered: the sample.
            level: coverage that the interval aims at.
        """


@dataclass(frozen=True)
class Percentile(Interval):
    """Quantiles of the metric on resamples.

    Attributes:
        least, most: ends of the metric's range.
    """

    least: float = -math.inf
    most: float = math.inf

    def resampled(self, metric: Function) -> Function:
        """Return the metric."""
        return metric

    def __call__(self, value: float, draws: Floats, ordered: Ordered, level: float) -> Metric:
        """As the base."""
        found = percentile(value, draws, level)
        if len(ordered) < FEW_ROWS or not (np.abs(draws - value) > ALIKE).any():
            missed = unseen(value, len(ordered), level, self.least, self.most)
            return Metric(value, min(found.low, missed.low), max(found.high, missed.high))
        return found


@dataclass(frozen=True)
class Studentised(Interval):
    """Bootstrap-t.

    Attributes:
        error: standard error of the metric in each resample.
        least, most: ends of the metric's range.
        worst: which value the metric would have if all examples were as bad as predictions like these can be, for one whose
            range has no such end: what examples that were not seen may be like.
    """

    error: Function
    least: float = 0.0
    most: float = 1.0
    worst: Callable[[Ordered], float] | None = None

    def resampled(self, metric: Function) -> Function:
        """Return the studentised deviation from the sample."""

        def deviation_of(tally: Tally) -> Floats:
            whole = tally.ordered.whole
            return deviates(metric(tally), self.error(tally), float(metric(whole)[0]), float(self.error(whole)[0]))

        return deviation_of

    def __call__(self, value: float, draws: Floats, ordered: Ordered, level: float) -> Figure:
        """As the base."""
        error, n = float(self.error(ordered.whole)[0]), len(ordered)
        others = None
        # Where all are right, or none is, the others went unseen, and so did what they cost.
        if n < FEW_ROWS or alike(error, n, 1.0) or ordered.correct.min() == ordered.correct.max():
            worst = None if self.worst is None else self.worst(ordered)
            least, most = (end if worst is None or math.isfinite(end) else worst for end in (self.least, self.most))
            others = least, most
        return studentised(value, error, draws, level, n, self.least, self.most, others=others)


@dataclass(frozen=True)
class StudentisedOfErrors(Studentised):
    """Bootstrap-t of how confidence ranks errors: without an interval where there are fewer than `FEWEST` errors."""

    lacking: ClassVar[bool] = True

    def __call__(self, value: float, draws: Floats, ordered: Ordered, level: float) -> Figure:
        """As the base."""
        return value if few(ordered) else super().__call__(value, draws, ordered, level)


@dataclass(frozen=True)
class Ranked(Interval):
    """Newcombe's, of the AUROC of errors; none where there are fewer than `FEWEST`."""

    lacking: ClassVar[bool] = True

    def __call__(self, value: float, draws: Floats, ordered: Ordered, level: float) -> Figure:
        """As the base."""
        right = float(ordered.correct.sum())
        return value if few(ordered) else rank_interval(value, len(ordered) - right, right, level)


@dataclass(frozen=True)
class Exact(Interval):
    """Clopper and Pearson's, of a proportion among the most confident `coverage` of the examples."""

    coverage: float = 1.0

    def __call__(self, value: float, draws: Floats, ordered: Ordered, level: float) -> Metric:
        """As the base."""
        return proportion(value, kept_at(self.coverage, len(ordered)), level)


@dataclass(frozen=True)
class Deviation(Interval):
    """The bound of `deviation`, of a sum of absolute gaps.

    Attributes:
        distance: how far a resample's gaps are from the sample's.
        square: mean over examples of the square of the largest term that one can add.
    """

    distance: Function
    square: Callable[[Ordered], float]

    def resampled(self, metric: Function) -> Function:
        """Return the distance."""
        return self.distance

    def __call__(self, value: float, draws: Floats, ordered: Ordered, level: float) -> Metric:
        """As the base."""
        return deviation(value, draws, self.square(ordered), len(ordered), level)


def few(ordered: Ordered) -> bool:
    """Whether there are fewer than `FEWEST` errors, or right answers."""
    right = float(ordered.correct.sum())
    return min(right, len(ordered) - right) < FEWEST


def error_of_mean(contribution: Callable[[Scores], Floats]) -> Function:
    """Return the standard error, in each resample, of the mean of what examples contribute."""

    def moments(ordered: Ordered) -> tuple[Floats, Floats]:
        values = contribution(ordered.scores)
        # Around the sample's mean, so that little is lost to rounding where the spread is small.
        values = values - values.mean()
        return values, values**2

    def error(tally: Tally) -> Floats:
        values, squares = tally.ordered.once(moments)
        variance = tally.mean(squares) - tally.mean(values) ** 2
        return np.sqrt(np.maximum(variance, 0) / tally.n)

    return error


def percentile(value: float, draws: Floats, level: float) -> Metric:
    """Return a figure with the quantiles of those of its resamples (R,) that define it; they do where they are no NaN."""
    defined = draws[~np.isnan(draws)]
    low, high = middle(defined, level) if len(defined) else (value, value)
    # A very skewed metric (one example with a huge loss), few resamples or rounding can leave the value just outside.
    return Metric(value, min(low, value), max(high, value))
