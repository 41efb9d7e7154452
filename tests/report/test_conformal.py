from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import bayespeft
from bayespeft.errors import ConfigError, DataError
from bayespeft.report.conformal import Conformal, ConformalReport, _uniforms
from bayespeft.report.metrics.conformal import METHODS
from tests.report.predictions import Always, Never, predictive


def fit(log_probs: Any, labels: Any, **settings: Any) -> Conformal:
    return Conformal.fit(predictive(log_probs, labels), Never(), **settings)


# The guarantee


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "alpha"), [(19, 0.1), (100, 0.2)])
def test_coverage_is_as_promised_by_simulation(method: Any, n: int, alpha: float, simulate: Any) -> None:
    """Of an over-confident model: between 1 - alpha and 1 - alpha + 1 / (n + 1), within 4 standard errors."""
    repeats, hits = 400, []
    log_probs, labels = simulate(repeats * (n + 20), 4, temperature=0.5)
    for i, (logs, own) in enumerate(zip(np.split(log_probs, repeats), np.split(labels, repeats), strict=True)):
        found = fit(logs[:n], own[:n], alpha=alpha, method=method, seed=i)
        hits.append(found.sets(predictive(logs[n:], None))[np.arange(20), own[n:]].mean())
    error = 4 * np.std(hits) / repeats**0.5
    assert 1 - alpha - error < np.mean(hits) < 1 - alpha + 1 / (n + 1) + error


@pytest.mark.parametrize("seed", range(4))
def test_coverage_of_examples_that_come_one_by_one(seed: int, simulate: Any) -> None:
    """As promised for each seed of the uniforms, within 4 standard errors over validation and new examples."""
    n, m, alpha = 2000, 2000, 0.1
    log_probs, labels = simulate(n + m, 4, temperature=0.5, seed=9)
    found = fit(log_probs[:n], labels[:n], alpha=alpha, method="aps", seed=seed)
    new, own = log_probs[n:], labels[n:]
    hits = [found.sets(predictive(new[i : i + 1], None))[0, own[i]] for i in range(m)]
    error = 4 * (alpha * (1 - alpha) * (1 / n + 1 / m)) ** 0.5
    assert abs(np.mean(hits) - (1 - alpha)) < error
    together = found.sets(predictive(new, None))
    assert (together[np.arange(m), own] == hits).all()


@pytest.mark.parametrize("method", METHODS)
def test_each_class_is_covered_as_promised(method: Any) -> None:
    """Class 0 is hard and rare: its coverage falls short marginally, and is as promised with thresholds of its own.

    Over validation sets and new examples, within 4 standard errors over 150 repeats.
    """
    rng = np.random.default_rng(0)
    covered: dict[str, Any] = {"all": [], "class": []}
    for seed in range(150):
        labels = rng.choice(3, 300, p=[0.15, 0.35, 0.5])
        logits = 2.5 * np.eye(3)[labels] * np.array([0.2, 1, 1])[labels][:, None] + rng.normal(size=(300, 3))
        logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        for per in covered:
            found = fit(logs[:200], labels[:200], alpha=0.2, method=method, per=per, seed=seed)
            hits = found.sets(predictive(logs[200:]))[np.arange(100), labels[200:]]
            covered[per].append([hits[labels[200:] == k].mean() for k in range(3)])
    short, kept = (np.nanmean(covered[per], axis=0) for per in ("all", "class"))
    errors = np.nanstd(covered["class"], axis=0) / 150**0.5
    assert short[0] < 0.7
    assert (kept > 0.8 - 4 * errors).all()
    assert (kept < 0.8 + 1 / 20 + 4 * errors).all()


def test_a_class_without_validation_examples_is_in_every_set() -> None:
    log_probs = np.log(np.tile([[0.6, 0.3, 0.1]], (50, 1)))
    found = fit(log_probs, np.arange(50) % 2, alpha=0.2, per="class")
    assert np.isinf(found.threshold).tolist() == [False, False, True]
    assert found.sets(predictive(log_probs))[:, 2].all()
    report = found.report(predictive(log_probs, np.arange(50) % 2), resamples=5)
    assert report.by_class[2] is None
    assert ConformalReport.from_json(report.to_json()) == report
    with pytest.raises(ConfigError, match="per='row'"):
        fit(log_probs, np.arange(50) % 2, per="row")


def test_coverage_of_one_prediction_for_all_is_at_least_as_promised() -> None:
    """Equal rows share their uniform; validation rows, too, so that the quantile knows."""
    log_probs, labels = (
        np.log(np.tile([[0.5, 0.3, 0.2]], (3000, 1))),
        np.random.default_rng(0).choice(3, 3000, p=[0.5, 0.3, 0.2]),
    )
    for seed in range(10):
        found = fit(log_probs[:1000], labels[:1000], alpha=0.4, method="aps", seed=seed)
        hits = found.sets(predictive(log_probs[1000:], None))[np.arange(2000), labels[1000:]]
        assert hits.mean() > 0.6 - 4 * (0.24 * (1 / 1000 + 1 / 2000)) ** 0.5


def test_predictions_with_other_draws_are_refused(simulate: Any) -> None:
    data = predictive(*simulate(30, 3))
    other = replace(data, draws=3)
    found = Conformal.fit(data, Always(other))
    for new in (other, "data"):
        with pytest.raises(ConfigError, match="data was predicted with 3 draws, and validation data with 1"):
            found.sets(new)
    with pytest.raises(ConfigError, match="with 3 draws"):
        found.report(other, resamples=2)


def test_predictions_of_other_classes_and_nan_are_refused(simulate: Any) -> None:
    found = fit(*simulate(30, 3))
    with pytest.raises(ConfigError, match="data was predicted with 2 classes, and validation data with 3"):
        found.sets(predictive(simulate(5, 2)[0]))
    broken = np.array(simulate(5, 3)[0])
    broken[2] = np.nan
    with pytest.raises(DataError, match="NaN at row 2"):
        found.sets(predictive(broken))


def test_nine_of_ten_sets_hold_the_label_where_nothing_is_set(simulate: Any) -> None:
    log_probs, labels = simulate(200, 4)
    unset, set_ = fit(log_probs, labels), fit(log_probs, labels, alpha=0.1, method="lac", per="all", seed=0)
    assert (unset.alpha, unset.method, unset.threshold) == (0.1, "lac", set_.threshold)


def test_too_few_examples_promise_by_sets_of_all_classes() -> None:
    found = fit(np.log([[0.9, 0.1]]), [0], alpha=0.1)
    assert found.threshold == math.inf
    assert found.sets(predictive(np.log([[0.99, 0.01]]), None)).all()


def test_a_choice_that_is_not_offered_is_in_no_set() -> None:
    """Not even where so few rows validate that a set has all that there is; unless such a choice was right there."""
    offered = np.log([[0.9, 0.1, 1e-300]])
    offered[:, 2] = -1e30
    assert fit(offered, [0]).sets(predictive(offered, None)).tolist() == [[True, True, False]]
    assert fit(offered, [2]).sets(predictive(offered, None)).tolist() == [[True, True, True]]


def test_certain_right_predictions_get_sets_of_one(simulate: Any) -> None:
    with np.errstate(divide="ignore"):
        logs = np.log(np.tile(np.eye(3), (10, 1)))
    labels = np.tile(np.arange(3), 10)
    found = fit(logs, labels, alpha=0.1)
    report = found.report(predictive(logs, labels), resamples=10)
    assert (report.coverage.value, report.size.value, report.single, report.empty) == (1, 1, 1, 0)


def test_lac_sets_may_be_empty_and_aps_sets_go_by_the_seed(simulate: Any) -> None:
    log_probs, labels = simulate(200, 4)
    lac, aps = (fit(log_probs, labels, alpha=0.5, method=method, seed=1) for method in ("lac", "aps"))
    data = predictive(log_probs, labels)
    report = lac.report(data, resamples=10)
    sizes = lac.sets(data).sum(1)
    assert report.empty == (sizes == 0).mean() > 0
    assert (aps.sets(data) == aps.sets(data)).all()
    assert (aps.sets(data) != replace(aps, seed=2).sets(data)).any()


def test_sets_of_one_size_may_be_larger_in_rows_that_were_not_seen() -> None:
    log_probs, labels = np.log(np.tile([0.9, 0.06, 0.04], (40, 1))), np.zeros(40, dtype=int)
    report = fit(log_probs, labels, alpha=0.1).report(predictive(log_probs, labels), resamples=20)
    unseen = 1 - 0.025 ** (1 / 40)
    assert (report.size.low, report.size.value, report.size.high) == pytest.approx((1 - unseen, 1, 1 + 2 * unseen))


def test_report_measures_prints_and_reads_itself(simulate: Any) -> None:
    (fitted, test) = (simulate(300, 4, seed=seed) for seed in (0, 1))
    found = fit(*fitted, alpha=0.1)
    data = predictive(*test)
    report = found.report(data, resamples=100)
    sets = found.sets(data)
    assert report.coverage.value == pytest.approx(sets[np.arange(300), test[1]].mean())
    assert report.size.value == pytest.approx(sets.sum(1).mean())
    assert report.size.low < report.size.value < report.size.high
    assert (report.target, report.n, report.validation, report.method) == (0.9, 300, 300, "lac")
    assert ConformalReport.from_json(report.to_json()) == report
    assert "promised: 90 %, fitted on 300" in str(report)
    with pytest.raises(DataError, match="not a report on conformal sets"):
        ConformalReport.from_dict({})


def test_sets_predict_data_that_is_no_prediction(simulate: Any) -> None:
    data = predictive(*simulate(30, 3))
    predictor = Always(data)
    found = Conformal.fit(data, predictor)
    assert (found.sets("test") == found.sets(data)).all()
    assert predictor.asked == ["test"]


def test_labels_are_needed(simulate: Any) -> None:
    log_probs, labels = simulate(20, 3)
    with pytest.raises(DataError, match="a conformal set needs labels"):
        fit(log_probs, None)
    with pytest.raises(DataError, match="a conformal set needs labels"):
        fit(log_probs, labels).report(predictive(log_probs, None))


def test_the_numbers_of_aps_are_uniform_on_the_whole_interval() -> None:
    """Their mean and mean square within five standard errors, and no gap at either end."""
    probs = np.random.default_rng(0).dirichlet(np.ones(3), size=2000)
    found = _uniforms(probs, 7)
    assert (found >= 0).all()
    assert (found < 1).all()
    assert found.mean() == pytest.approx(1 / 2, abs=5 * (1 / 12 / 2000) ** 0.5)
    assert (found**2).mean() == pytest.approx(1 / 3, abs=5 * (4 / 45 / 2000) ** 0.5)
    assert found.min() < 0.01
    assert found.max() > 0.99
    assert (found != _uniforms(probs, 8)).all()


def test_probabilities_of_zero_that_were_wrong_do_not_break_the_promise():
    """A hard classifier that errs on a fifth of the rows promises nine tenths only by sets of all classes."""
    rng = np.random.default_rng(0)
    top = rng.integers(0, 4, 200)
    labels = np.where(np.arange(200) % 5 == 0, (top + 1) % 4, top)
    hard = np.eye(4)[top]
    assert bayespeft.evaluate(hard, labels).conformal(alpha=0.1).sets(hard).all()
    assert (bayespeft.evaluate(hard, top).conformal(alpha=0.1).sets(hard).sum(1) == 1).all()
