"""Intervals of means, ratios and shares that are explained, where all rows of a small sample may be alike: by simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import binom

from bayespeft.report import RegressionReport
from bayespeft.report.bootstrap import intervals, mean_intervals, skill_score
from bayespeft.report.clustered import Ratio, ratios
from bayespeft.report.deviation import deviation
from bayespeft.report.language import LanguageReport
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.metrics.spec import table
from bayespeft.report.unseen import unseen

SAMPLES = 400


def share_held(metrics: list[Metric], truth: float) -> float:
    return float(np.mean([metric.low <= truth <= metric.high for metric in metrics]))


def test_a_share_that_went_unseen_shifts_the_mean_to_either_end() -> None:
    share = 1 - 0.025 ** (1 / 10)
    found = unseen(0.2, 10, 0.95, 0.0, 1.0)
    assert (found.low, found.high) == pytest.approx((0.2 * (1 - share), 0.2 + share * 0.8))
    assert unseen(0.2, 10, 0.95, 0.0, math.inf).high == math.inf
    # Rows three times as long are three times as much of a ratio.
    assert unseen(1.0, 10, 0.95, 0.0, 1.0, weight=3).low == pytest.approx(1 - 3 * share / (3 * share + 1 - share))


@pytest.mark.parametrize("n", [*range(1, 9), 20, 40, 60])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)])
def test_means_of_two_values_hold_whatever_the_share_of_either(n: int, ends: tuple[float, float]) -> None:
    """The interval goes by the number of ones alone, so that coverage is a sum over the binomial law. Steps make it uneven."""
    shares = np.arange(0.02, 0.99, 0.02)
    hits = np.arange(n + 1)
    found = [
        mean_intervals({"a": np.r_[np.ones(k), np.zeros(n - k)]}, resamples=1000, ranges={"a": ends})["a"] for k in hits
    ]
    assert min(metric.high - metric.low for metric in found) > 0.05
    assert n < 4 or max(metric.high - metric.low for metric in found[1:-1]) < 3.5
    held = [
        sum(binom.pmf(k, n, p) for k, metric in zip(hits, found, strict=True) if metric.low <= p <= metric.high)
        for p in shares
    ]
    assert min(held) > 0.86
    assert np.mean(held) > 0.955


@pytest.mark.parametrize("n", range(1, 9))
def test_ratios_of_few_rows_hold_although_most_samples_have_no_spread(n: int) -> None:
    rng = np.random.default_rng(n)
    found = []
    for _ in range(SAMPLES):
        tokens = rng.integers(1, 5, n).astype(float)
        each = np.where(rng.random(n) < 0.1, 2.0, 0.5)
        (metric,) = ratios({"a": Ratio(each * tokens, tokens, most=2.0)}, resamples=40).values()
        assert metric.low < metric.value < metric.high or metric.value == 2
        found.append(metric)
    assert share_held(found, 0.1 * 2.0 + 0.9 * 0.5) > 0.92


@pytest.mark.parametrize("n", range(1, 9))
def test_shares_that_are_explained_hold_although_most_samples_have_no_spread(n: int) -> None:
    """A loss is half of the base's, and for few ten times it."""
    rng = np.random.default_rng(n)
    found = []
    for _ in range(SAMPLES):
        losses = np.where(rng.random((n, 1)) < 0.1, 10.0, 0.5)
        metric = skill_score(losses, np.ones((n, 1)), resamples=40)
        assert metric is not None
        assert metric.low < metric.value < metric.high
        found.append(metric)
    assert share_held(found, 1 - (0.1 * 10 + 0.9 * 0.5)) > 0.92


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_a_spread_is_told_from_rounding_in_any_unit(unit: float) -> None:
    rng = np.random.default_rng(0)
    values, tokens = rng.exponential(size=30), rng.integers(1, 9, 30).astype(float)

    def ends(values: Any) -> list[float]:
        means = mean_intervals({"a": values}, resamples=200)["a"]
        ratio = ratios({"a": Ratio(values, tokens)}, resamples=200)["a"]
        return [end for metric in (means, ratio) for end in (metric.low, metric.high)]

    assert ends(unit * values) == pytest.approx([unit * end for end in ends(values)])
    # In single precision, 0.1 of one batch is not that of another.
    rounded = unit * (0.1 + 1e-8 * rng.normal(size=30))
    assert mean_intervals({"a": rounded}, resamples=50)["a"].high == math.inf
    assert ratios({"a": Ratio(tokens * rounded, tokens)}, resamples=50)["a"].high == math.inf
    assert skill_score(rounded[:, None], np.full((30, 1), unit), resamples=50).low == -math.inf


def test_reports_whose_rows_are_all_alike_promise_nothing() -> None:
    texts = LanguageReport.from_log_likelihood([-2.0] * 6, [2] * 6, resamples=50)
    assert (texts.nll.high, texts.perplexity.high) == (math.inf, math.inf)
    means = np.zeros((2, 6, 1))
    numbers = RegressionReport.from_mixture(means, np.ones((2, 6, 1)), np.zeros((6, 1)), resamples=50)
    assert (numbers.rmse.value, numbers.rmse.high, numbers.nll.low) == (0, math.inf, -math.inf)


@pytest.mark.parametrize("law", [0.9, 0.95])
def test_where_all_are_right_what_wrong_answers_cost_is_in_the_interval(law: float) -> None:
    """Confidences differ a little and are right, so that resamples have a spread, but one that knows of no wrong answer."""
    rng, n, held = np.random.default_rng(0), 20, []
    for seed in range(300):
        confidence = np.clip(law + 0.04 * rng.uniform(-1, 1, n), 0.5, 0.999)
        labels = (rng.random(n) > law).astype(int)
        log_probs = np.log(np.stack([confidence, 1 - confidence], axis=1))
        spec = [spec for spec in table() if spec.name in ("confidence_gap", "brier")]
        found = intervals(example_scores(log_probs, labels), spec, resamples=40, seed=seed)
        gap = found["confidence_gap"]
        assert isinstance(gap, Metric)
        held.append(gap)
        if not labels.any():
            assert gap.high > 0.05
    assert share_held(held, 0.0) > 0.92


def test_a_calibration_error_of_few_rows_has_no_lower_end_that_noise_reaches() -> None:
    """One row's own gap is no evidence, and of two, resamples say little of how far both are off."""
    assert deviation(0.4, np.zeros(40), 0.16, 1).low == 0
    distances = np.full(40, 0.05)
    assert deviation(0.4, distances, 0.16, 2).low == 0
    factor = stdtrit(9, 0.975) / stdtrit(1e9, 0.975) * (10 / 9) ** 0.5
    assert deviation(0.4, distances, 0.16, 10).low == pytest.approx(0.4 - factor * 0.05, abs=1e-6)
