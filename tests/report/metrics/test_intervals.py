"""Intervals of metrics: their width, their ends, and what they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bayespeft.errors import ConfigError
from bayespeft.report import bootstrap, metrics
from bayespeft.report.metric import Metric
from bayespeft.report.metrics import example_scores
from tests.report.resampled import binary, intervals


def test_examples_that_are_all_alike_leave_what_may_have_gone_unseen() -> None:
    """A share of wrong answers of up to q, 1 in 40 of whose samples of 20 have none, shifts a mean by q times a wrong one's."""
    log_probs, labels = binary([0.9] * 20), [0] * 20
    found = intervals(example_scores(log_probs, labels))
    unseen = 1 - 0.025 ** (1 / 20)
    right, wrong = -np.log(0.9), -np.log(0.1)
    assert found["nll"].value == pytest.approx(right)
    assert found["nll"].high == pytest.approx((1 - unseen) * right + unseen * wrong)
    assert found["nll"].low == pytest.approx((1 - unseen) * right)
    assert found["brier"].high == pytest.approx((1 - unseen) * 0.02 + unseen * 2)


@pytest.mark.parametrize(("n", "wrong"), [(1, 0), (1, 1), (11, 0), (200, 71), (500, 0)])
def test_no_interval_is_without_width(n: int, wrong: int) -> None:
    """Predictions are the same for every row, and at 71 of 200 the base rates themselves: no row adds to the skill."""
    labels = np.arange(n) < wrong
    scores = example_scores(binary([1 - 71 / 200] * n), labels.astype(int))
    found = bootstrap.intervals(scores, resamples=50)
    widths = {name: figure.high - figure.low for name, figure in found.items() if isinstance(figure, Metric)}
    assert {"nll", "brier", "accuracy", "confidence_gap", "refusal_gain"} <= widths.keys()
    assert min(widths.values()) > 1e-4
    if wrong == 71:
        assert found["skill"].low < 0 < found["skill"].high


def test_intervals_of_means_have_the_width_of_the_central_limit_theorem(simulate: Any) -> None:
    scores = example_scores(*simulate(3000, 5))
    found = intervals(scores, resamples=4000)
    for name in ("accuracy", "nll", "brier"):
        per_example = {"accuracy": scores.correct, "nll": scores.nll, "brier": scores.brier}[name]
        half = 1.96 * per_example.std() / np.sqrt(len(scores))
        assert (found[name].high - found[name].low) / 2 == pytest.approx(half, rel=0.06)
        assert (found[name].high + found[name].low) / 2 == pytest.approx(found[name].value, abs=0.1 * half)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_intervals_of_calibration_errors_hold_the_populations(temperature: float, simulate: Any) -> None:
    """The errors of 200,000 examples, in at least 95 % of 120 samples of 150, within 4 standard errors; both bin widths."""
    population = example_scores(*simulate(200_000, 3, seed=1000, temperature=temperature))
    truth = {
        "ece": metrics.equal_width_error(population.confidence, population.correct),
        "ece_equal_mass": metrics.equal_mass_error(population.confidence, population.correct),
    }
    held = dict.fromkeys(truth, 0)
    for seed in range(120):
        found = intervals(example_scores(*simulate(150, 3, seed=seed, temperature=temperature)), resamples=100)
        for name, value in truth.items():
            held[name] += found[name].low <= value <= found[name].high
    for count in held.values():
        assert count / 120 >= 0.95 - 4 * (0.95 * 0.05 / 120) ** 0.5


def test_a_calibrated_models_error_may_be_nothing(simulate: Any) -> None:
    calibrated, sharp = (intervals(example_scores(*simulate(2000, 2, temperature=t))) for t in (1, 0.5))
    for name in ("ece", "ece_equal_mass"):
        assert calibrated[name].low == 0 < calibrated[name].value < calibrated[name].high < 0.1
        assert 0 < sharp[name].low < sharp[name].value < sharp[name].high


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


def test_an_interval_ends_where_the_range_of_its_metric_ends() -> None:
    log_probs = np.log(np.array([[1e-9, 1 - 1e-9]] * 3 + [[0.6, 0.4]]))
    found = intervals(example_scores(log_probs, [0, 0, 0, 0]))
    assert found["brier"].high == 2.0
    assert found["accuracy"].low == pytest.approx(0.0063, abs=1e-4)  # Clopper and Pearson's of one in four


@pytest.mark.parametrize(("name", "most"), [("aurc", 1.0), ("augrc", 0.5)])
def test_areas_under_a_risk_end_at_the_largest_that_there_is(name: str, most: float) -> None:
    """The risk of those that are kept is at most 1, and the share of all that is kept and wrong 1/2 on average."""
    labels = [0] * 6 + [1] * 6
    found = bootstrap.intervals(example_scores(binary(np.linspace(0.6, 0.9, 12)), labels), resamples=50)[name]
    assert 0.7 * most < found.value < found.high == most
