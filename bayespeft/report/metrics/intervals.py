"""How metrics get their intervals: from resamples (Efron & Tibshirani 1993, chapter 13), as proportions, or by a bound.

A mean over examples, and a smooth function of such means, gets the percentile interval: it covers the population's figure.
Proportions have an interval of their own (`proportions`), and so have calibration errors, which resampling biases upward
(`deviation`). Figures that neither fits, such as the largest error of a bin, have none. In how many of simulated samples each
interval covers its target stands in paper_repro.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bayespeft.report.binning import Floats, kept_at
from bayespeft.report.deviation import deviation
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.tally import Function, Ordered
from bayespeft.report.proportions import proportion


class Interval(ABC):
    """How the interval of a metric is made."""

    def resampled(self, metric: Function) -> Function | None:
        """Return what is to be computed on resamples, which may be the metric; None where nothing is."""
        return None

    @abstractmethod
    def __call__(self, value: float, draws: Floats, ordered: Ordered, level: float) -> Metric:
        """Return the metric's value with its interval.

        Args:
            value: on the sample.
            draws: (R,) what `resampled` asks for on each resample; (0,) where that is nothing.
            ordered: the sample.
            level: coverage that the interval aims at.
        """


@dataclass(frozen=True)
class Percentile(Interval):
    """Quantiles of the metric on resamples."""

    def resampled(self, metric: Function) -> Function:
        """Return the metric."""
        return metric

    def __call__(self, value: float, draws: Floats, ordered: Ordered, level: float) -> Metric:
        """As the base."""
        return percentile(value, draws, level)


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


def percentile(value: float, draws: Floats, level: float) -> Metric:
    """Return a figure with the quantiles of those of its resamples (R,) that define it; they do where they are no NaN."""
    defined = draws[~np.isnan(draws)]
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) if len(defined) else (value, value)
    # A very skewed metric (one example with a huge loss), few resamples or rounding can leave the value just outside.
    return Metric(value, min(float(low), value), max(float(high), value))
