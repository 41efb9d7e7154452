"""Intervals of ratios of sums over rows each of which is several labels or tokens: it is the rows that are independent.

R = sum_i a_i / sum_i b_i has to first order the variance sum_i (a_i - R b_i)^2 / (sum_i b_i)^2 (Cochran 1977, Sampling
Techniques, section 2.11).

- A fraction in [0, 1], such as an accuracy over tokens, has the interval of Clopper and Pearson with as many observations as
  would have that variance if they were independent (Korn & Graubard 1998, Survey Methodology 24(2)): never of width zero, also
  where all is right.
- Other ratios, such as a loss per token, are resampled with whole rows and studentised by that variance (`studentised`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from bayespeft.report.binning import Floats
from bayespeft.report.bootstrap import on_resamples
from bayespeft.report.metric import Metric
from bayespeft.report.proportions import exact
from bayespeft.report.studentised import deviates, studentised


@dataclass(frozen=True)
class Ratio:
    """Two sums over the same rows.

    Attributes:
        numerator: (n,) what each row adds to the numerator.
        denominator: (n,) what each row adds to the denominator, not negative.
        least, most: ends of the ratio of a row; left out, 0 where none here is negative, and none.
    """

    numerator: Floats
    denominator: Floats
    least: float | None = None
    most: float = math.inf

    @property
    def value(self) -> float | None:
        """The ratio of the sums; None where the denominator is 0."""
        below = float(self.denominator.sum())
        return float(self.numerator.sum()) / below if below > 0 else None

    @property
    def ends(self) -> tuple[float, float]:
        """Between which the ratio of any row lies."""
        free = 0.0 if self.numerator.min() >= 0 else -math.inf
        return free if self.least is None else self.least, self.most


def fraction(ratio: Ratio, level: float = 0.95) -> Metric | None:
    """Return a ratio of rows' ratios in [0, 1], with its interval; None where the denominator is 0.

    Args:
        ratio: the sums.
        level: coverage that the interval aims at.
    """
    value = ratio.value
    if value is None:
        return None
    below = float(ratio.denominator.sum())
    variance = float(((ratio.numerator - value * ratio.denominator) ** 2).sum()) / below**2
    return fraction_of_variance(value, variance, int((ratio.denominator > 0).sum()), below, level)


def fraction_of_variance(value: float, variance: float, rows: int, most: float, level: float = 0.95) -> Metric:
    """Return a fraction with Korn's and Graubard's interval.

    Args:
        value: in [0, 1].
        variance: of the value, summed over rows without a correction for the degree of freedom that the value takes.
        rows: independent ones; one alone says nothing of the spread, and its interval is [0, 1].
        most: observations that it counts for at most, and rows in the place of the variance's where that is zero.
        level: coverage that the interval aims at.
    """
    value = min(max(value, 0.0), 1.0)
    if rows < 2:
        return Metric(value, 0.0, 1.0)
    variance *= rows / (rows - 1)
    seen = value * (1 - value) / variance if variance > 1e-18 else 0.0
    # Rows that are all alike count one each: how much of a row's labels would err together can't be seen.
    count = min(seen, max(most, rows)) if seen > 0 else rows
    tail = (1 - level) / 2
    own = float(stdtrit(max(count - 1, 1.0), tail) / stdtrit(rows - 1, tail))
    return Metric(value, *exact(value, count * min(own, 1.0) ** 2, level))


def ratios(
    columns: Mapping[str, Ratio], *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> dict[str, Metric]:
    """Return ratios with studentised intervals, by name, from the same resamples of rows.

    Args:
        columns: the sums, whose denominators are above 0.
        level: coverage that each interval aims at.
        resamples: bootstrap samples, fewer of very many rows.
        seed: the result is a function of the sums and of this.

    Raises:
        ConfigError: `resamples` is below 1.
    """
    part, whole = (
        np.stack([np.asarray(values, dtype=np.float64) for values in found], axis=1)
        for found in zip(*((ratio.numerator, ratio.denominator) for ratio in columns.values()), strict=True)
    )
    # In units of the largest of each: a spread is then told from rounding whatever is measured.
    units = np.abs(part).max(axis=0), whole.max(axis=0)
    part, whole = (values / np.where(unit > 0, unit, 1.0) for values, unit in zip((part, whole), units, strict=True))
    unit = np.where(units[0] > 0, units[0], 1.0) / units[1]
    value = part.sum(axis=0) / whole.sum(axis=0)
    size = np.abs(part).sum(axis=0) / whole.sum(axis=0)
    # Less the value: the ratio is then 0, and its squares lose nothing to rounding.
    part = part - value * whole
    error = np.sqrt((part**2).sum(axis=0)) / whole.sum(axis=0)
    table = np.concatenate([part, whole, part**2, part * whole, whole**2], axis=1)

    def deviation(drawn: Floats) -> Floats:
        above, below, square, mixed, own = np.split(drawn @ table, 5, axis=1)
        # A resample may hold only rows without a token; it defines no ratio.
        with np.errstate(divide="ignore", invalid="ignore"):
            found = above / below
            spread = np.sqrt(np.maximum(square - 2 * found * mixed + found**2 * own, 0)) / below
        undefined = below <= 0
        found, spread = (np.where(undefined, 0, figure) for figure in (found, spread))
        deviations: Floats = np.where(undefined, np.nan, deviates(found, spread, 0.0, error))
        return deviations

    draws = on_resamples(len(part), deviation, resamples, seed)
    # A row whose denominator is 0 adds nothing to the ratio, and a row that was not seen may be as long as the longest.
    counted = (whole > 0).sum(axis=0)
    longest = whole.max(axis=0) * counted / whole.sum(axis=0)
    return {
        name: studentised(
            float(value[i] * unit[i]),
            float(error[i] * unit[i]),
            draws[:, i],
            level,
            int(counted[i]),
            *ratio.ends,
            size=float(size[i] * unit[i]),
            weight=float(longest[i]),
        )
        for i, (name, ratio) in enumerate(columns.items())
    }
