from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bayespeft.errors import ConfigError
from bayespeft.report import bootstrap, metrics
from bayespeft.report.bootstrap import ece_noise, ece_power, replicates, skill_score
from bayespeft.report.metric import Metric
from bayespeft.report.metrics import example_scores
from bayespeft.report.metrics.tally import Ordered
from tests.report.resampled import METRICS, SPECS, binary, intervals


@pytest.mark.parametrize("digits", [1, 12])
def test_replicates_are_the_metrics_of_the_resampled_examples(digits: int, simulate: Any) -> None:
    """With one digit almost all confidences are tied, with twelve none is."""
    log_probs, labels = simulate(97, 3, temperature=0.7)
    probs = np.round(np.exp(log_probs), digits) + 1e-3
    log_probs = np.log(probs / probs.sum(axis=1, keepdims=True))
    ordered = Ordered.of(example_scores(log_probs, labels))
    found = replicates(ordered, {spec.name: (spec, 20) for spec in SPECS}, resamples=20, seed=3)
    picks = ordered.order[np.random.default_rng(3).integers(0, 97, size=(20, 97))]
    assert tuple(found) == METRICS
    for name in METRICS:
        expected = [getattr(metrics, name)(log_probs[rows], labels[rows]) for rows in picks]
        assert found[name] == pytest.approx(expected, abs=1e-12)


def test_result_depends_on_seed_and_not_on_chunks(simulate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = example_scores(*simulate(61, 4))
    first = intervals(scores, resamples=50, seed=1), ece_noise(scores.confidence, resamples=50, seed=1)
    assert first[0] == intervals(scores, resamples=50, seed=1)
    assert first[0]["nll"] != intervals(scores, resamples=50, seed=2)["nll"]
    for chunk in (1, 61 * 7):
        monkeypatch.setattr(bootstrap, "CHUNK", chunk)
        again = intervals(scores, resamples=50, seed=1)
        for name in METRICS:
            assert astuple(again[name]) == pytest.approx(astuple(first[0][name]), abs=1e-12)
        assert ece_noise(scores.confidence, resamples=50, seed=1) == pytest.approx(first[1], abs=1e-12)


def astuple(metric: Metric) -> tuple[float, float, float]:
    return metric.low, metric.value, metric.high


@given(n=st.integers(1, 40), classes=st.integers(1, 4), seed=st.integers(0, 1000), resamples=st.integers(1, 30))
def test_interval_contains_the_value_and_stays_in_range(
    n: int, classes: int, seed: int, resamples: int, simulate: Any
) -> None:
    log_probs, labels = simulate(n, classes, seed=seed)
    found = intervals(example_scores(log_probs, labels), resamples=resamples, seed=seed)
    top = {"accuracy": 1, "nll": np.inf, "ece": 1, "ece_equal_mass": 1, "brier": 2}
    for name, metric in found.items():
        assert metric.value == pytest.approx(getattr(metrics, name)(log_probs, labels), abs=1e-12)
        assert 0 <= metric.low <= metric.value <= metric.high <= top[name]


def test_one_example_says_little() -> None:
    found = intervals(example_scores(binary([0.7]), [1]))
    assert astuple(found["nll"]) == pytest.approx((0, -np.log(0.3), np.inf))
    assert astuple(found["brier"]) == pytest.approx((0, 0.98, 2))
    assert astuple(found["accuracy"]) == pytest.approx((0, 0, 0.975))
    for name in ("ece", "ece_equal_mass"):
        assert (found[name].value, found[name].high) == (pytest.approx(0.7), 1)


def test_level_sets_the_width(simulate: Any) -> None:
    scores = example_scores(*simulate(300, 3))
    wide, narrow = intervals(scores, level=0.99), intervals(scores, level=0.5)
    for name in METRICS:
        assert wide[name].low <= narrow[name].low <= narrow[name].high < wide[name].high
        assert wide[name].low < narrow[name].low or narrow[name].low == 0


# Sampling noise


def test_noise_of_one_example_is_known() -> None:
    """Right with probability 0.7, an error of 0.3; else 0.7."""
    for level, expected in [(0.5, 0.3), (0.95, 0.7)]:
        assert ece_noise(np.array([0.7]), level=level) == pytest.approx(expected)


def test_noise_of_certain_predictions_is_nothing() -> None:
    assert ece_noise(np.ones(10)) == 0


def test_noise_of_one_bin_is_a_binomial_quantile() -> None:
    n, c = 500, 0.9
    errors = np.abs(np.arange(n + 1) / n - c)
    order = np.argsort(errors)
    exact = errors[order][np.searchsorted(np.cumsum(binom.pmf(np.arange(n + 1), n, c)[order]), 0.95)]
    assert ece_noise(np.full(n, c), resamples=20_000) == pytest.approx(exact, abs=1.01 / n)


def test_calibrated_models_exceed_the_noise_as_often_as_stated(simulate: Any) -> None:
    """In 5 % of samples, within 4 standard errors of 300 repeats; over-confident ones always do."""
    repeats, above = 300, 0
    for seed in range(repeats):
        scores = example_scores(*simulate(400, 3, seed=seed))
        noise = ece_noise(scores.confidence, resamples=400, seed=seed)
        above += metrics.equal_width_error(scores.confidence, scores.correct) > noise
        if seed < 20:
            sharp = example_scores(*simulate(400, 3, seed=seed, temperature=0.3))
            assert metrics.equal_width_error(sharp.confidence, sharp.correct) > ece_noise(sharp.confidence)
    assert above / repeats == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / repeats))


def test_the_power_to_notice_five_points_grows_with_the_rows() -> None:
    """One bin at .8: more are wrong than noise makes if fewer than a binomial quantile are right."""
    for n in (100, 2000):
        confidence = np.full(n, 0.8)
        noise = ece_noise(confidence, resamples=4000)
        right = np.arange(n + 1)
        exact = binom.pmf(right, n, 0.75)[np.abs(right / n - 0.8) > noise + 1e-9].sum()
        found = ece_power(confidence, noise, 0.05, resamples=4000)
        assert found == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 4000) ** 0.5 + 1e-12)
    assert found > 0.99
    assert ece_power(np.full(100, 0.01), 1.0, 0.05) == 0


# The small print


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resamples": 0}, "resamples is 0: the bootstrap needs at least 1"),
        ({"level": 1.0}, r"level is 1\.0: .* between 0 and 1"),
        ({"level": 0}, "level is 0"),
        ({"n_bins": 0}, "n_bins is 0"),
    ],
)
def test_unusable_settings_are_errors(settings: dict[str, Any], message: str) -> None:
    scores = example_scores(binary([0.7, 0.8]), [0, 1])
    with pytest.raises(ConfigError, match=message):
        intervals(scores, **settings)
    with pytest.raises(ConfigError, match=message):
        ece_noise(scores.confidence, **settings)


def test_the_share_that_is_explained_is_a_ratio_of_means() -> None:
    rng = np.random.default_rng(0)
    losses, base = rng.exponential(size=(500, 2)), 2 * rng.exponential(size=(500, 2))
    found = skill_score(losses, base)
    assert found is not None
    assert found.value == pytest.approx((1 - losses.mean(0) / base.mean(0)).mean())
    # Delta method: the ratio's influence is (loss - ratio base) / mean base.
    influence = ((losses - losses.mean(0) / base.mean(0) * base) / base.mean(0)).mean(1)
    half = 1.96 * influence.std() / 500**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)
    constant = np.concatenate([base[:, :1], np.zeros((500, 1))], axis=1)
    one = skill_score(losses, constant)
    assert one is not None
    assert one.value == pytest.approx(1 - losses[:, 0].mean() / base[:, 0].mean())
    assert skill_score(losses, np.zeros((500, 2))) is None


def test_very_many_examples_take_fewer_resamples_and_never_less_than_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [bootstrap.affordable(1000, n) for n in (1, 30_000, 60_000, 10**7)] == [1000, 1000, 500, 100]
    assert bootstrap.affordable(20, 10**7) == 20
    monkeypatch.setattr(bootstrap, "MOST", 1)
    few = np.random.default_rng(0).normal(size=400)
    found = bootstrap.mean_intervals({"loss": few}, resamples=1000)["loss"]
    assert found.high - found.low == pytest.approx(
        2 * 1.96 * few.std() / 20, rel=0.25
    )  # 100 resamples know a width to 10 %
