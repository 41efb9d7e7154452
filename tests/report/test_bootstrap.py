from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bayespeft.errors import ConfigError
from bayespeft.report import bootstrap, metrics
from bayespeft.report.bootstrap import METRICS, Metric, ece_noise, intervals, replicates
from bayespeft.report.metrics import example_scores


def binary(confidence: Any) -> Any:
    """Log-probabilities with class 0 at the given confidences."""
    return np.log(np.stack([confidence, 1 - np.asarray(confidence)], axis=1))


@pytest.mark.parametrize("digits", [1, 12])
def test_replicates_are_the_metrics_of_the_resampled_examples(digits: int, simulate: Any) -> None:
    """With one digit almost all confidences are tied, with twelve none is."""
    log_probs, labels = simulate(97, 3, temperature=0.7)
    probs = np.round(np.exp(log_probs), digits) + 1e-3
    log_probs = np.log(probs / probs.sum(axis=1, keepdims=True))
    found = replicates(example_scores(log_probs, labels), resamples=20, seed=3)
    order = np.argsort(example_scores(log_probs, labels).confidence, kind="stable")
    picks = order[np.random.default_rng(3).integers(0, 97, size=(20, 97))]
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
    top = {"accuracy": 1, "nll": -metrics.LOG_FLOOR, "ece": 1, "ece_equal_mass": 1, "brier": 2}
    for name, metric in found.items():
        assert metric.value == pytest.approx(getattr(metrics, name)(log_probs, labels), abs=1e-12)
        assert 0 <= metric.low <= metric.value <= metric.high <= top[name]


def test_one_example_has_intervals_without_width() -> None:
    found = intervals(example_scores(binary([0.7]), [1]))
    for name, value in {"accuracy": 0, "nll": -np.log(0.3), "ece": 0.7, "ece_equal_mass": 0.7, "brier": 0.98}.items():
        assert astuple(found[name]) == pytest.approx((value,) * 3)


def test_accuracy_interval_is_the_binomial_quantile() -> None:
    """Resampling n examples with k right gives Binomial(n, k / n) right ones: its quantiles are the exact interval."""
    n, k = 400, 320
    metric = intervals(example_scores(binary(np.full(n, 0.9)), (np.arange(n) >= k).astype(int)), resamples=20_000)[
        "accuracy"
    ]
    exact = binom.ppf([0.025, 0.975], n, k / n) / n
    # Standard error of a quantile: sqrt(.025 * .975 / 20000) / density = 0.0004; steps are 1 / n = 0.0025.
    assert (metric.low, metric.high) == pytest.approx(tuple(exact), abs=1.01 / n)


def test_accuracy_interval_covers_as_often_as_it_should() -> None:
    """Against the exact coverage of the percentile interval under the binomial, within 4 standard errors."""
    n, p, repeats = 200, 0.8, 400
    rng = np.random.default_rng(0)
    k = np.arange(n + 1)
    covers = (binom.ppf(0.025, n, k / n) <= n * p) & (n * p <= binom.ppf(0.975, n, k / n))
    expected = float(binom.pmf(k, n, p) @ covers)
    assert expected > 0.93
    hits = 0
    for i in range(repeats):
        labels = (rng.random(n) >= p).astype(int)
        metric = intervals(example_scores(binary(np.full(n, 0.9)), labels), resamples=500, seed=i)["accuracy"]
        hits += metric.low <= p + 1e-12 and metric.high >= p - 1e-12
    standard_error = np.sqrt(expected * (1 - expected) / repeats)
    assert hits / repeats == pytest.approx(expected, abs=4 * standard_error)


def test_intervals_of_means_have_the_width_of_the_central_limit_theorem(simulate: Any) -> None:
    scores = example_scores(*simulate(3000, 5))
    found = intervals(scores, resamples=4000)
    for name in ("accuracy", "nll", "brier"):
        per_example = {"accuracy": scores.correct, "nll": scores.nll, "brier": scores.brier}[name]
        half = 1.96 * per_example.std() / np.sqrt(len(scores))
        assert (found[name].high - found[name].low) / 2 == pytest.approx(half, rel=0.06)
        assert (found[name].high + found[name].low) / 2 == pytest.approx(found[name].value, abs=0.1 * half)


def test_level_sets_the_width(simulate: Any) -> None:
    scores = example_scores(*simulate(300, 3))
    wide, narrow = intervals(scores, level=0.99), intervals(scores, level=0.5)
    for name in METRICS:
        assert wide[name].low < narrow[name].low <= narrow[name].high < wide[name].high


def test_ece_interval_is_shifted_by_the_bias_of_resampling(simulate: Any) -> None:
    """For a calibrated model the plain percentile interval lies above the reported value."""
    scores = example_scores(*simulate(2000, 2))
    found, draws = intervals(scores), replicates(scores)
    for name in ("ece", "ece_equal_mass"):
        value, bias = found[name].value, draws[name].mean() - found[name].value
        assert bias > 0.002
        low, high = np.quantile(draws[name], [0.025, 0.975])
        assert found[name].low == pytest.approx(max(low - bias, 0))
        assert found[name].high == pytest.approx(high - bias)
        assert found[name].low < value < found[name].high


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


# The small print


def test_metric_prints_and_becomes_a_dictionary() -> None:
    metric = Metric(0.1234, 0.1009, 0.1478)
    assert str(metric) == "0.123 [0.101, 0.148]"
    assert Metric(**metric.to_dict()) == metric


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


def test_means_get_the_interval_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(3.0, 2.0, (2000,))
    found = bootstrap.mean_intervals({"a": values, "b": values + 1}, resamples=4000)
    error = values.std() / 2000**0.5
    assert found["a"].value == pytest.approx(values.mean())
    assert found["a"].low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found["a"].high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert found["b"].low == pytest.approx(found["a"].low + 1), "the same resamples"
    assert found == bootstrap.mean_intervals({"a": values, "b": values + 1}, resamples=4000)
    with pytest.raises(ConfigError, match="level is 1"):
        bootstrap.mean_intervals({"a": values}, level=1.0)
