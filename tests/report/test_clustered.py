"""Ratios over rows that are several labels each: closed forms, degenerate rows, and coverage of copies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm, t

from bayespeft.errors import ConfigError
from bayespeft.report.bootstrap import mean_intervals
from bayespeft.report.clustered import Ratio, fraction, fraction_of_variance, ratios
from bayespeft.report.proportions import exact


def test_a_fraction_counts_as_often_as_its_variance_says():
    """Twenty rows of which seven are right, four copies of each label: as twenty labels, less what estimating costs."""
    right = np.repeat([1.0, 0.0], [7, 13])
    one, four = fraction(Ratio(right, np.ones(20))), fraction(Ratio(4 * right, np.full(20, 4.0)))
    assert (four.value, four.low, four.high) == pytest.approx((one.value, one.low, one.high))
    # The variance of independent rows is p (1 - p) / (n - 1).
    count = 19 * min(1.0, (t.ppf(0.025, 18) / t.ppf(0.025, 19))) ** 2
    assert (one.low, one.high) == pytest.approx(exact(0.35, count))


def test_rows_that_are_all_right_count_one_each():
    found = fraction(Ratio(np.full(30, 5.0), np.full(30, 5.0)))
    assert (found.value, found.low, found.high) == pytest.approx((1.0, *exact(1.0, 30)))
    assert found.low == pytest.approx(0.025 ** (1 / 30))
    none = fraction(Ratio(np.zeros(30), np.arange(30.0)))
    assert (none.low, none.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 29))), "the row without labels does not count"


def test_one_row_says_nothing_and_none_have_no_fraction():
    found = fraction(Ratio(np.array([3.0, 0.0]), np.array([4.0, 0.0])))
    assert (found.value, found.low, found.high) == (0.75, 0.0, 1.0)
    assert fraction(Ratio(np.zeros(3), np.zeros(3))) is None
    most = 40 * (t.ppf(0.025, 39) / t.ppf(0.025, 9)) ** 2
    assert fraction_of_variance(0.5, 1e-9, 10, 40).low == pytest.approx(exact(0.5, most)[0]), (
        "never more than there are"
    )


def test_fractions_cover_where_the_labels_of_a_row_are_copies():
    """Exactly, by the binomial law of the rows; Clopper and Pearson's over labels would cover .7."""
    n, copies = 40, 5
    k = np.arange(n + 1)
    found = [fraction(Ratio(copies * (np.arange(n) < hits), np.full(n, float(copies)))) for hits in k]
    low, high = np.array([[one.low, one.high] for one in found]).T
    wrong = np.array([exact(hits / n, n * copies) for hits in k]).T
    for p in (0.05, 0.2, 0.5, 0.9, 0.97):
        assert binom.pmf(k, n, p)[(low <= p) & (p <= high)].sum() >= 0.95
        assert binom.pmf(k, n, p)[(wrong[0] <= p) & (p <= wrong[1])].sum() < 0.85


def test_ratios_have_the_width_of_their_variance_and_ends_of_their_range():
    rng = np.random.default_rng(0)
    whole = rng.integers(1, 9, 4000).astype(float)
    part = whole * 0.3 + rng.normal(size=4000)
    found = ratios({"r": Ratio(part, whole), "loss": Ratio(np.abs(part), whole)}, resamples=2000)
    value = part.sum() / whole.sum()
    error = np.sqrt(((part - value * whole) ** 2).sum()) / whole.sum()
    assert found["r"].value == pytest.approx(value)
    assert found["r"].high - found["r"].low == pytest.approx(2 * norm.ppf(0.975) * error, rel=0.05)
    rare = ratios({"loss": Ratio(np.array([0.0] * 20 + [5.0]), np.ones(21))}, resamples=200)["loss"]
    assert rare.low == 0 < rare.value < rare.high
    assert ratios({"a": Ratio(part, whole)}, resamples=50, seed=1) == ratios(
        {"a": Ratio(part, whole)}, resamples=50, seed=1
    )


def test_a_ratio_of_one_mean_has_the_interval_of_the_mean():
    """The weights of losses over tokens with one token a row; and rows without tokens leave it defined."""
    values = np.random.default_rng(1).exponential(size=60)
    (mean,) = mean_intervals({"a": values}, resamples=300).values()
    found = ratios({"a": Ratio(values, np.ones(60))}, resamples=300)["a"]
    assert (found.value, found.low, found.high) == pytest.approx((mean.value, mean.low, mean.high))
    gaps = ratios({"a": Ratio(np.array([1.0, 2.0, 0, 0]), np.array([3.0, 3.0, 0, 0]), most=1.0)}, resamples=100)["a"]
    assert gaps.value == 0.5
    assert np.isfinite([gaps.low, gaps.high]).all()
    with pytest.raises(ConfigError, match="resamples is 0"):
        ratios({"a": Ratio(values, np.ones(60))}, resamples=0)
