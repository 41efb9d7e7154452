"""Proper scores: closed forms, other packages, and that they are proper."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy
from sklearn.metrics import brier_score_loss, log_loss

from bayespeft.report import metrics
from bayespeft.report.metrics.proper import _skill_error
from bayespeft.report.metrics.tally import Tally
from tests.report.metrics.by_hand import ALL, logs


@pytest.mark.parametrize("classes", [1, 2, 3, 7])
def test_uniform_predictions_have_closed_forms(classes: int) -> None:
    labels = np.arange(classes)
    log_probs = np.full((classes, classes), -math.log(classes))
    assert metrics.accuracy(log_probs, labels) == pytest.approx(1 / classes)
    assert metrics.nll(log_probs, labels) == pytest.approx(math.log(classes), abs=1e-15)
    assert metrics.brier(log_probs, labels) == pytest.approx(1 - 1 / classes)
    assert metrics.ece(log_probs, labels) == pytest.approx(0, abs=1e-12)
    assert metrics.example_scores(log_probs, labels).entropy == pytest.approx(math.log(classes))


def test_certain_and_right_scores_perfectly() -> None:
    log_probs = logs(np.eye(3))
    assert [metric(log_probs, np.arange(3)) for metric in ALL] == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_certain_and_wrong_scores_worst_but_finite() -> None:
    log_probs, labels = logs(np.eye(3)), np.array([1, 2, 0])
    assert [metric(log_probs, labels) for metric in ALL] == [0.0, -metrics.LOG_ZERO, 2.0, 1.0, 1.0]
    assert [b.count for b in metrics.bins(log_probs, labels)] == [0] * 14 + [3]


def test_brier_sums_over_classes() -> None:
    assert metrics.brier(logs([[0.7, 0.2, 0.1]]), [0]) == pytest.approx(0.3**2 + 0.2**2 + 0.1**2)
    assert metrics.brier(logs([[0.7, 0.3]]), [1]) == pytest.approx(2 * 0.7**2)


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_nll_and_brier_agree_with_sklearn(classes: int, simulate: Any) -> None:
    log_probs, labels = simulate(500, classes)
    probs = np.exp(log_probs)
    assert metrics.nll(log_probs, labels) == pytest.approx(log_loss(labels, probs, labels=range(classes)), rel=1e-12)
    one_vs_rest = [brier_score_loss(labels == k, probs[:, k]) for k in range(classes)]
    assert metrics.brier(log_probs, labels) == pytest.approx(sum(one_vs_rest), rel=1e-12)


@given(
    truth=arrays(np.float64, 4, elements=st.floats(0.01, 1)), guess=arrays(np.float64, 4, elements=st.floats(0.01, 1))
)
def test_nll_and_brier_are_proper(truth: Any, guess: Any) -> None:
    """Their expected excess over the truth's is the KL divergence and the squared distance: least at the truth."""
    truth, guess = truth / truth.sum(), guess / guess.sum()
    of_truth = metrics.example_scores(np.tile(np.log(truth), (4, 1)), np.arange(4))
    of_guess = metrics.example_scores(np.tile(np.log(guess), (4, 1)), np.arange(4))
    assert truth @ (of_guess.nll - of_truth.nll) == pytest.approx(float(entropy(truth, guess)), abs=1e-12)
    assert truth @ (of_guess.brier - of_truth.brier) == pytest.approx(((truth - guess) ** 2).sum(), abs=1e-12)


def test_the_error_of_the_skill_is_that_of_its_influence(simulate: Any) -> None:
    """A row moves 1 - sum(nll) / sum(base) by -(nll - ratio base) / sum(base), to first order."""
    log_probs, labels = simulate(300, 3, temperature=0.5)
    scores = metrics.example_scores(log_probs, labels)
    base = -np.log((np.bincount(labels) / len(labels))[labels])
    ratio = scores.nll.mean() / base.mean()
    influence = (scores.nll - ratio * base) / base.mean()
    error = _skill_error(Tally.whole(scores))[0]
    assert error == pytest.approx(influence.std() / len(labels) ** 0.5, rel=1e-9)
    without = [metrics.skill(np.delete(log_probs, i, 0), np.delete(labels, i)) for i in range(len(labels))]
    jackknife = (len(labels) - 1) ** 0.5 * np.std(without)
    assert error == pytest.approx(jackknife, rel=0.05)
