from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.errors import ConfigError, DataError
from bayespeft.report import metrics
from bayespeft.report.bootstrap import intervals
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.selective import CURVE, METRICS, curve, selective_errors
from bayespeft.report.metrics.tally import Tally


def binary(confidence: Any, right: Any) -> Any:
    """Two classes, class 0 at the given confidences; labels by what is right."""
    with np.errstate(divide="ignore"):
        return np.log(np.stack([confidence, 1 - np.asarray(confidence)], axis=1)), 1 - np.asarray(right, int)


# Closed forms

FOUR = binary([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])


def test_four_examples_by_hand() -> None:
    coverage, risk = metrics.risk_coverage(*FOUR)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert metrics.aurc(*FOUR) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert metrics.excess_aurc(*FOUR) == pytest.approx(metrics.aurc(*FOUR) - (1 / 3 + 2 / 4) / 4)
    assert metrics.error_auroc(*FOUR) == pytest.approx(3 / 4)
    assert metrics.error_average_precision(*FOUR) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.augrc(*FOUR) == pytest.approx(1 / 4 * 1 / 4 + 1 / 8)
    assert [metrics.accuracy_at_coverage(*FOUR, c) for c in (0.25, 0.3, 0.5, 0.75, 1)] == pytest.approx(
        [1, 1 / 2, 1 / 2, 2 / 3, 1 / 2]
    )
    assert [metrics.coverage_at_risk(*FOUR, r) for r in (0, 0.32, 0.34, 0.5)] == [0.25, 0.25, 0.75, 1]


def test_all_right_all_wrong_and_one_example() -> None:
    for right, area in ((1, 0.0), (0, 1.0)):
        for n in (1, 3):
            data = binary(np.linspace(0.6, 0.9, n), [right] * n)
            assert metrics.aurc(*data) == pytest.approx(area)
            assert metrics.excess_aurc(*data) == pytest.approx(0)
            assert metrics.augrc(*data) == pytest.approx(area / 2)
            assert np.isnan(metrics.error_auroc(*data))
            assert metrics.accuracy_at_coverage(*data, 0.5) == 1 - area
            assert metrics.coverage_at_risk(*data, 0.1) == 1 - area
    assert np.isnan(metrics.error_average_precision(*binary([0.9], [1])))
    assert metrics.error_average_precision(*binary([0.9], [0])) == 1


def test_a_constant_confidence_tells_nothing() -> None:
    data = binary([0.8] * 10, [1] * 7 + [0] * 3)
    assert metrics.risk_coverage(*data)[1] == pytest.approx([0.3] * 10)
    assert metrics.aurc(*data) == pytest.approx(0.3)
    assert metrics.error_auroc(*data) == 0.5
    assert metrics.error_average_precision(*data) == pytest.approx(0.3)
    assert metrics.accuracy_at_coverage(*data, 0.5) == pytest.approx(0.7)
    assert metrics.coverage_at_risk(*data, 0.1) == 0, "a threshold can't part ties"
    assert metrics.coverage_at_risk(*data, 0.3) == 1


def test_certain_and_one_class() -> None:
    data = np.zeros((4, 1)), np.zeros(4, int)
    assert (metrics.aurc(*data), metrics.augrc(*data), metrics.coverage_at_risk(*data, 0)) == (0, 0, 1)


# Against the definition, with ties in every order


@given(rows=st.lists(st.tuples(st.sampled_from([0.6, 0.75, 0.9]), st.booleans()), min_size=1, max_size=6))
def test_ties_count_with_their_mean_over_all_orders(rows: Any) -> None:
    confidence, right = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    n, curves = len(rows), []
    for order in itertools.permutations(range(n)):
        ordered = confidence[list(order)]
        if (np.diff(ordered) <= 0).all():
            curves.append(np.cumsum(1 - right[list(order)]))
    errors = np.mean(curves, axis=0)
    kept = np.arange(1, n + 1)
    data = binary(confidence, right)
    assert metrics.risk_coverage(*data)[1] == pytest.approx(errors / kept)
    assert metrics.aurc(*data) == pytest.approx((errors / kept).mean())
    for coverage in (0.3, 0.5, 0.8, 1.0):
        k = int(np.ceil(coverage * n - 1e-9))
        assert metrics.accuracy_at_coverage(*data, coverage) == pytest.approx(1 - errors[k - 1] / k)
    wrong = 1 - right
    allowed = [(confidence >= t).mean() for t in confidence if wrong[confidence >= t].mean() <= 0.25 + 1e-12]
    assert metrics.coverage_at_risk(*data, 0.25) == pytest.approx(max(allowed, default=0))


def test_the_largest_coverage_counts_where_risk_rises_and_falls() -> None:
    data = binary([0.9, 0.8, 0.7, 0.6], [0, 1, 1, 1])
    assert metrics.coverage_at_risk(*data, 0.25) == 1


def test_augrc_is_its_identity_in_the_auroc(simulate: Any) -> None:
    data = simulate(500, 4)
    a = metrics.accuracy(*data)
    assert metrics.augrc(*data) == pytest.approx((1 - metrics.error_auroc(*data)) * a * (1 - a) + (1 - a) ** 2 / 2)


def test_an_oracle_has_no_excess() -> None:
    data = binary([0.99] * 71 + [0.6] * 29, [1] * 70 + [0] * 30)
    assert metrics.excess_aurc(*data) > 0, "an error has the confidence of right answers"
    data = binary(np.linspace(0.99, 0.6, 100), [1] * 70 + [0] * 30)
    assert metrics.excess_aurc(*data) == pytest.approx(0, abs=1e-12)
    assert metrics.error_auroc(*data) == metrics.error_average_precision(*data) == 1


# Second opinions


# Resamples


def test_the_curve_is_the_accuracy_that_is_kept(simulate: Any) -> None:
    data = simulate(53, 3)
    found = curve(metrics.example_scores(*data))
    assert found.coverage == CURVE
    assert found.risk == pytest.approx([1 - metrics.accuracy_at_coverage(*data, at) for at in CURVE], abs=1e-12)
    assert all(low <= risk <= high for low, risk, high in zip(found.low, found.risk, found.high, strict=True))


def test_how_confidence_ranks_fewer_than_five_errors_has_no_interval() -> None:
    specs = [spec for spec in METRICS if spec.name in ("aurc", "augrc", "error_auroc")]
    confidence = np.linspace(0.55, 0.95, 40)
    for wrong, told in ((4, False), (5, True), (35, True), (36, False)):
        right = np.arange(40) >= wrong
        found = intervals(metrics.example_scores(*binary(confidence, right)), specs, resamples=50)
        assert all(isinstance(figure, Metric) == told for figure in found.values())
    data = binary([0.9, 0.8], [1, 1])
    assert intervals(metrics.example_scores(*data), specs, resamples=5)["error_auroc"] is None


def test_standard_errors_of_the_areas_are_the_jackknifes(simulate: Any) -> None:
    """Ties and all: leaving out one example at a time (Efron & Tibshirani 1993, chapter 11)."""
    log_probs, labels = simulate(300, 3, temperature=0.7)
    probs = np.round(np.exp(log_probs), 2) + 1e-3
    log_probs = np.log(probs / probs.sum(axis=1, keepdims=True))
    found = selective_errors(Tally.whole(metrics.example_scores(log_probs, labels)))
    for name, error in found.items():
        rest = np.array(
            [getattr(metrics, name)(*(np.delete(part, i, 0) for part in (log_probs, labels))) for i in range(300)]
        )
        assert error[0] == pytest.approx((299 * rest.var()) ** 0.5, rel=0.03)


@given(n=st.integers(1, 40), classes=st.integers(1, 4), seed=st.integers(0, 100))
def test_every_figure_is_in_its_range(n: int, classes: int, seed: int, simulate: Any) -> None:
    data = simulate(n, classes, seed=seed)
    assert 0 <= metrics.excess_aurc(*data) <= metrics.aurc(*data) <= 1
    assert 0 <= metrics.augrc(*data) <= 0.5
    assert metrics.accuracy_at_coverage(*data, 1) == pytest.approx(metrics.accuracy(*data))
    assert metrics.coverage_at_risk(*data, 1) == 1
    coverage, risk = metrics.risk_coverage(*data)
    assert coverage[-1] == 1
    assert ((risk >= 0) & (risk <= 1)).all()


def test_unusable_settings_are_errors() -> None:
    for coverage in (0, 1.1):
        with pytest.raises(ConfigError, match=f"coverage is {coverage}"):
            metrics.accuracy_at_coverage(*FOUR, coverage)
    with pytest.raises(ConfigError, match=r"risk is -0\.1"):
        metrics.coverage_at_risk(*FOUR, -0.1)
    for negatives, positives, which in (([], [1], "negative"), ([1], [np.nan], "positive")):
        for figure in (metrics.auroc, metrics.average_precision, metrics.false_positive_rate):
            with pytest.raises(DataError, match=f"scores of the {which} examples"):
                figure(negatives, positives)
