from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from bayespeft.errors import ConfigError, DataError
from bayespeft.predictive.categorical import Predictive
from bayespeft.report import metrics
from bayespeft.report.ood import separate, separations
from bayespeft.report.proportions import exact


def normal(n: int, mean: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, n)


def predictive(scale: float, n: int, draws: int, seed: int = 0) -> Predictive:
    generator = torch.Generator().manual_seed(seed)
    logs = torch.log_softmax(scale * torch.randn(max(draws, 1), n, 3, generator=generator, dtype=torch.float64), -1)
    return Predictive(
        labels=None,
        draws=draws,
        forward_passes=1,
        seconds=0.0,
        log_probs=torch.logsumexp(logs, 0) - np.log(max(draws, 1)),
        expected_entropy=-(logs.exp() * logs).sum(-1).mean(0),
    )


def test_figures_are_those_of_the_metrics_and_intervals_hold_them() -> None:
    inside, near, far = normal(400, 0, 0), normal(300, 0.5, 1), normal(200, 3, 2)
    rows = separations({"entropy": inside}, {"near": {"entropy": near}, "far": {"entropy": far}})
    assert [(row.data, row.score, row.n) for row in rows] == [("near", "entropy", 300), ("far", "entropy", 200)]
    for row, positives in zip(rows, (near, far), strict=True):
        assert row.auroc.value == pytest.approx(metrics.auroc(inside, positives))
        assert row.aupr.value == pytest.approx(metrics.average_precision(inside, positives))
        assert row.fpr95.value == pytest.approx(metrics.false_positive_rate(inside, positives))
        for metric in (row.auroc, row.aupr, row.fpr95):
            assert 0 <= metric.low < metric.value < metric.high <= 1
    # Two normals d apart: AUROC = Phi(d / sqrt 2).
    assert rows[0].auroc.low < norm.cdf(0.5 / 2**0.5) < rows[0].auroc.high


def test_the_interval_has_the_width_of_hanley_and_mcneil() -> None:
    """Their standard error (1982, Radiology 143, eq. 2) with the exact Q1 and Q2 of the sample."""
    a, b = normal(300, 0, 0), normal(200, 1, 1)
    above = (b[:, None] > a).astype(float)
    area = above.mean()
    q1, q2 = (above.mean(1) ** 2).mean(), (above.mean(0) ** 2).mean()
    error = np.sqrt((area * (1 - area) + 199 * (q2 - area**2) + 299 * (q1 - area**2)) / (300 * 200))
    (row,) = separations({"s": a}, {"b": {"s": b}})
    assert row.auroc.high - row.auroc.low == pytest.approx(2 * 1.96 * error, rel=0.08)


def test_the_result_goes_by_no_other_set() -> None:
    inside, sets = {"s": normal(50, 0, 0)}, {"a": {"s": normal(30, 1, 1)}, "b": {"s": normal(20, 1, 2)}}
    assert separations(inside, {"b": sets["b"]}) == separations(inside, sets)[1:]


def test_one_example_of_each_and_ties() -> None:
    (row,) = separations({"s": [1.0]}, {"same": {"s": [1.0]}})
    assert (row.auroc.value, row.auroc.low < 0.1, row.auroc.high > 0.9) == (0.5, True, True), "one of each says little"
    assert astuple(row.aupr) == (0.5, 0.0, 1.0)
    # Of one negative that is above the threshold, Clopper and Pearson say this.
    assert astuple(row.fpr95) == pytest.approx((1.0, 0.0, 1.0))


def test_predictions_are_scored_by_three_uncertainties() -> None:
    """An uncertain set: all scores see it, each in the right direction."""
    rows = separate(predictive(6, 200, 4), {"vague": predictive(0.1, 150, 4, seed=1)})
    assert [row.score for row in rows] == ["max_probability", "entropy", "mutual_information"]
    assert min(row.auroc.value for row in rows[:2]) > 0.9
    assert rows[2].auroc.value < 0.1, "its draws agree"


@pytest.mark.parametrize("draws", [0, 1])
def test_without_draws_there_is_no_mutual_information(draws: int) -> None:
    rows = separate(predictive(2, 20, draws), {"other": predictive(1, 20, draws, seed=1)})
    assert [row.score for row in rows] == ["max_probability", "entropy"]


def test_predictions_that_can_not_be_compared_are_refused() -> None:
    """Three draws understate the mutual information more than ten do; more classes have more entropy."""
    test = predictive(2, 20, 10)
    with pytest.raises(ConfigError, match="set 'other' was predicted with 3 draws, and the test set with 10"):
        separate(test, {"other": predictive(2, 20, 3)})
    wide = replace(test, log_probs=torch.full((20, 4), 0.25, dtype=torch.float64).log())
    with pytest.raises(ConfigError, match="set 'wide' was predicted with 4 classes, and the test set with 3"):
        separate(test, {"same": test, "wide": wide})


def test_unusable_input_is_an_error() -> None:
    with pytest.raises(DataError, match=r"set 'b' has the scores \['t'\]; the test set has \['s'\]"):
        separations({"s": [1.0]}, {"b": {"t": [1.0]}})
    with pytest.raises(DataError, match="scores of the positive examples"):
        separations({"s": [1.0]}, {"b": {"s": []}})


@pytest.mark.parametrize("m", [20, 60, 100, 140, 180])
def test_95_percent_of_positives_are_reached_at_exactly_95_percent(m: int) -> None:
    """A negative between the last two thresholds counts only if the threshold of 95 % is missed by one."""
    reached = round(0.95 * m)
    positives = np.concatenate([np.full(reached, 3.0), np.full(m - reached, 1.0)])
    assert metrics.false_positive_rate([2.0, 0.0], positives) == 0
    below = np.concatenate([np.full(reached - 1, 3.0), np.full(m - reached + 1, 1.0)])
    assert metrics.false_positive_rate([2.0, 0.0], below) == 0.5


def test_sets_that_are_told_apart_perfectly_still_have_intervals() -> None:
    (row,) = separations({"s": np.zeros(40)}, {"b": {"s": np.ones(90)}})
    for figure, value in ((row.auroc, 1.0), (row.aupr, 1.0), (row.fpr95, 0.0)):
        assert figure.value == value
        assert figure.high - figure.low > 0.02
    assert row.aupr.low == pytest.approx(exact(1.0, 40)[0])
    assert row.fpr95.high == pytest.approx(exact(0.0, 40)[1])
