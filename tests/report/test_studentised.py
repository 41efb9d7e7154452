from __future__ import annotations

import math

import numpy as np
import pytest

from bayespeft.report.bootstrap import mean_intervals
from bayespeft.report.clustered import Ratio, ratios
from bayespeft.report.studentised import ENOUGH, deviates, middle, studentised


def test_quantiles_of_t_are_turned_around() -> None:
    """t runs from -1 to 3: the lower end is 3 errors below, the upper one 1 above."""
    found = studentised(5.0, 0.5, np.linspace(-1, 3, 1001), 1 - 1e-9, rows=ENOUGH)
    assert (found.low, found.value, found.high) == pytest.approx((3.5, 5.0, 5.5))
    clipped = studentised(5.0, 0.5, np.linspace(-1, 3, 1001), 1 - 1e-9, rows=ENOUGH, least=4.0, most=5.2)
    assert (clipped.low, clipped.high) == (4.0, 5.2)


def test_a_resample_without_spread_counts_with_the_samples() -> None:
    found = deviates(np.array([2.0, 2.0, np.nan]), np.array([0.0, 0.5, 1.0]), 1.0, 0.25)
    assert found[:2].tolist() == [4.0, 2.0]
    assert np.isnan(found[2])


def test_a_mean_of_squares_is_not_negative() -> None:
    """The rest of the interval is its own: only the lower end is cut, and only where nothing is negative."""
    values = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 16.0])
    found, moved = (mean_intervals({"a": values - shift}, resamples=200)["a"] for shift in (0.0, 1.0))
    assert found.low == 0 < found.high
    assert moved.low < -1
    assert moved.high == pytest.approx(found.high - 1)


def test_means_of_skewed_losses_are_held_more_often_than_by_percentiles() -> None:
    """Log-normal, thirty at a time: 95 % within 4 standard errors plus what the paper's own method misses, 3 points."""
    rng, truth, held, percentiles = np.random.default_rng(0), float(np.exp(0.5)), 0, 0
    for seed in range(300):
        values = rng.lognormal(size=30)
        found = mean_intervals({"loss": values}, resamples=300, seed=seed)["loss"]
        held += found.low <= truth <= found.high
        means = np.random.default_rng(seed).choice(values, (300, 30)).mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        percentiles += low <= truth <= high
    assert held / 300 >= 0.92 - 4 * (0.95 * 0.05 / 300) ** 0.5
    assert held > percentiles + 10


@pytest.mark.parametrize("draws", [19, 39, 100, 1000])
def test_few_draws_make_ends_that_hold_as_often(draws: int) -> None:
    """Another draw of the same law lies between the ends in 90 %, within four standard errors, however few draws made them."""
    rng, times = np.random.default_rng(0), 4000
    held = 0
    for _ in range(times):
        low, high = middle(rng.normal(size=draws), 0.9)
        held += low <= rng.normal() <= high
    assert held / times == pytest.approx(0.9, abs=4 * (0.09 / times) ** 0.5)


@pytest.mark.parametrize("rows", [2, 3])
def test_two_or_three_examples_have_an_interval_that_holds(rows: int) -> None:
    """Normal: Student's interval holds in 95 %, and this one has it inside; of resamples alone two would hold in half."""
    rng, times, held = np.random.default_rng(0), 400, 0
    for seed in range(times):
        found = mean_intervals({"a": rng.normal(size=rows)}, resamples=40, seed=seed)["a"]
        held += found.low <= 0 <= found.high
    assert held / times >= 0.95 - 4 * (0.95 * 0.05 / times) ** 0.5


def test_one_example_says_nothing_of_the_spread() -> None:
    found = mean_intervals({"loss": np.array([0.7]), "gain": np.array([-0.7])}, resamples=10)
    assert (found["loss"].low, found["loss"].high) == (0, np.inf)
    assert (found["gain"].low, found["gain"].high) == (-np.inf, np.inf)
    # Rows without a token are no examples of a loss per token.
    per_token = ratios({"loss": Ratio(np.array([1.5, 0, 0]), np.array([2.0, 0, 0]))}, resamples=10)["loss"]
    assert (per_token.value, per_token.low, per_token.high) == (0.75, 0, np.inf)


def test_a_loss_of_densities_may_be_negative_though_none_here_is() -> None:
    values = np.array([0.01, 0.02, 0.01, 3.0])
    ends = (None, {"nll": (-math.inf, math.inf)})
    bounded, free = (mean_intervals({"nll": values}, resamples=200, ranges=own)["nll"] for own in ends)
    assert bounded.low == 0 > free.low
    assert bounded.high == free.high
