"""The calibration errors beyond the two ECEs, and the parts of the Brier score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from bayespeft.errors import ConfigError, DataError
from bayespeft.report import metrics
from bayespeft.report.binning import CELLS, bin_index
from bayespeft.report.metrics.calibration import folded_mean
from bayespeft.report.metrics.cells import PARTS
from tests.report.metrics.by_hand import grouped, logs

ERRORS = (metrics.ece_classwise, metrics.ece_debiased, metrics.rms_debiased, metrics.mce, metrics.smooth_ece)


# Closed forms


def test_certain_predictions_have_the_errors_of_their_accuracy() -> None:
    right, wrong = (logs(np.eye(3)), np.arange(3)), (logs(np.eye(3)), np.array([1, 2, 0]))
    assert [error(*right) for error in ERRORS] == [0, 0, 0, 0, 0]
    assert [error(*wrong) for error in ERRORS] == pytest.approx([2 / 3, 1, 1, 1, 1], abs=1 / CELLS)
    assert (metrics.confidence_gap(*right), metrics.confidence_gap(*wrong)) == (0, 1)
    assert metrics.brier_parts(*right) == {
        "reliability": 0, "resolution": pytest.approx(2 / 3), "uncertainty": pytest.approx(2 / 3), "within": pytest.approx(0)
    }  # fmt: skip
    # In each class one example at 1 that is not of it, and two at 0 of which one is.
    parts = {"reliability": 3 / 2, "resolution": 1 / 6, "uncertainty": 2 / 3, "within": 0}
    assert metrics.brier_parts(*wrong) == pytest.approx(parts, abs=1e-12)


def test_one_class_has_no_error() -> None:
    data = np.zeros((5, 1)), np.zeros(5, int)
    assert [error(*data) for error in ERRORS] == [0] * 5
    assert metrics.brier_parts(*data) == dict.fromkeys(PARTS, 0.0)


@pytest.mark.parametrize("label", [0, 1])
def test_one_example_has_the_gap_of_its_confidence(label: int) -> None:
    data = logs([[0.7, 0.3]]), [label]
    gap = 0.7 - (label == 0)
    assert metrics.confidence_gap(*data) == pytest.approx(gap)
    assert metrics.mce(*data) == pytest.approx(abs(gap))
    assert metrics.ece_debiased(*data) == pytest.approx(abs(gap)), "no spread seen, none taken off"
    assert metrics.rms_debiased(*data) == 0, "one example tells error from noise in no way"
    assert metrics.smooth_ece(*data) == pytest.approx(abs(gap), abs=1e-3), "|residual| at every bandwidth"
    assert metrics.ece_classwise(*data) == pytest.approx(abs(gap))


def test_errors_of_two_bins_are_those_by_hand() -> None:
    data = grouped((0.9, 30, 21), (0.6, 10, 9))
    assert metrics.confidence_gap(*data) == pytest.approx((30 * 0.9 + 10 * 0.6 - 30) / 40)
    assert metrics.mce(*data) == pytest.approx(0.3)
    squares = 30 / 40 * (0.2**2 - 0.7 * 0.3 / 29) + 10 / 40 * (0.3**2 - 0.9 * 0.1 / 9)
    assert metrics.rms_debiased(*data) == pytest.approx(math.sqrt(squares))
    folded = [folded_normal(0.2, math.sqrt(0.21 / 30)), folded_normal(0.3, math.sqrt(0.09 / 10))]
    expected = 0.75 * (0.4 - folded[0]) + 0.25 * (0.6 - folded[1])
    assert metrics.ece_debiased(*data) == pytest.approx(expected)
    # With two classes both have the same gaps.
    assert metrics.ece_classwise(*data) == pytest.approx(metrics.ece(*data))


def folded_normal(mean: float, std: float) -> float:
    grid = np.linspace(-1, 1.5, 200_001)
    return float((np.abs(grid) * norm.pdf(grid, mean, std)).sum() * (grid[1] - grid[0]))


def test_mean_of_the_folded_normal() -> None:
    assert folded_mean(np.array([0.3, -0.3, 0.0, 0.5]), np.array([0.0, 0.0, 1.0, 0.1])) == pytest.approx(
        [0.3, 0.3, math.sqrt(2 / math.pi), folded_normal(0.5, 0.1)], abs=1e-6
    )


def test_brier_parts_by_hand() -> None:
    """One probability in each bin: Murphy's three parts alone."""
    parts = metrics.brier_parts(*grouped((0.9, 30, 21), (0.6, 10, 9)))
    assert parts["reliability"] == pytest.approx(2 * (0.75 * 0.2**2 + 0.25 * 0.3**2))
    assert parts["resolution"] == pytest.approx(2 * (0.75 * 0.05**2 + 0.25 * 0.15**2))
    assert parts["uncertainty"] == pytest.approx(2 * 0.75 * 0.25)
    assert parts["within"] == pytest.approx(0, abs=1e-12)


# Second opinions


@pytest.mark.parametrize("classes", [2, 5])
def test_mce_agrees_with_torchmetrics(classes: int, simulate: Any) -> None:
    theirs = pytest.importorskip("torchmetrics.functional.classification").multiclass_calibration_error
    log_probs, labels = simulate(2000, classes, temperature=0.6)
    arguments = torch.as_tensor(log_probs).exp(), torch.as_tensor(labels)
    most = theirs(*arguments, num_classes=classes, n_bins=15, norm="max")
    assert metrics.mce(log_probs, labels) == pytest.approx(float(most), abs=1e-6)


def test_rms_is_the_l2_error_of_torchmetrics_less_the_variance(simulate: Any) -> None:
    theirs = pytest.importorskip("torchmetrics.functional.classification").multiclass_calibration_error
    log_probs, labels = simulate(2000, 4, temperature=0.6)
    plain = float(
        theirs(torch.as_tensor(log_probs).exp(), torch.as_tensor(labels), num_classes=4, n_bins=15, norm="l2")
    )
    variance = sum(
        b.accuracy * (1 - b.accuracy) / (b.count - 1) * b.count for b in metrics.bins(log_probs, labels) if b.count > 1
    )  # type: ignore[operator]
    assert metrics.rms_debiased(log_probs, labels) == pytest.approx(math.sqrt(plain**2 - variance / 2000), abs=1e-5)


@given(n=st.integers(1, 60), classes=st.integers(1, 5), seed=st.integers(0, 100), n_bins=st.integers(1, 20))
def test_class_wise_figures_are_their_plain_definitions(
    n: int, classes: int, seed: int, n_bins: int, simulate: Any
) -> None:
    log_probs, labels = simulate(n, classes, seed=seed, temperature=0.5)
    p, y = np.exp(log_probs), np.eye(classes)[labels]
    error, parts = 0.0, dict.fromkeys(PARTS, 0.0)
    for k in range(classes):
        base = y[:, k].mean()
        parts["uncertainty"] += base * (1 - base)
        index = bin_index(p[:, k], n_bins)
        for b in set(index):
            own, hit = p[index == b, k], y[index == b, k]
            share = len(own) / n
            error += share * abs(own.mean() - hit.mean()) / classes
            parts["reliability"] += share * (own.mean() - hit.mean()) ** 2
            parts["resolution"] += share * (hit.mean() - base) ** 2
            off = own - own.mean()
            parts["within"] += share * (off**2 - 2 * off * (hit - hit.mean())).mean()
    assert metrics.ece_classwise(log_probs, labels, n_bins) == pytest.approx(error, abs=1e-12)
    found = metrics.brier_parts(log_probs, labels, n_bins)
    assert found == pytest.approx(parts, abs=1e-12)
    total = found["reliability"] - found["resolution"] + found["uncertainty"] + found["within"]
    assert total == pytest.approx(metrics.brier(log_probs, labels), abs=1e-12)
    assert 0 <= found["resolution"] <= found["uncertainty"] + 1e-12


# Properties


def test_debiased_errors_are_smaller_and_nearly_unbiased() -> None:
    """A calibrated model in two bins: squares average to 0 within 4 standard errors; ECE is debiased by most of its bias."""
    rng = np.random.default_rng(0)
    squares, plain, debiased = [], [], []
    for _ in range(400):
        right = rng.binomial(30, 0.9), rng.binomial(20, 0.6)
        data = grouped((0.9, 30, right[0]), (0.6, 20, right[1]))
        bins = ((30, right[0] / 30, 0.9), (20, right[1] / 20, 0.6))
        squares.append(sum(n / 50 * ((a - c) ** 2 - a * (1 - a) / (n - 1)) for n, a, c in bins))
        assert metrics.rms_debiased(*data) == pytest.approx(math.sqrt(max(squares[-1], 0)), abs=1e-9)
        plain.append(metrics.ece(*data))
        debiased.append(metrics.ece_debiased(*data))
    assert abs(np.mean(squares)) < 4 * np.std(squares) / 20
    assert np.mean(debiased) < 0.75 * np.mean(plain)
    assert all(d <= p + 1e-12 for d, p in zip(debiased, plain, strict=True))


@given(n=st.integers(1, 50), classes=st.integers(1, 4), seed=st.integers(0, 100), temperature=st.floats(0.2, 3))
def test_every_error_is_in_its_range(n: int, classes: int, seed: int, temperature: float, simulate: Any) -> None:
    log_probs, labels = simulate(n, classes, seed=seed, temperature=temperature)
    for error in ERRORS:
        assert 0 <= error(log_probs, labels) <= 1
    gap = metrics.confidence_gap(log_probs, labels)
    assert abs(gap) <= metrics.ece(log_probs, labels) + 1e-12 <= metrics.mce(log_probs, labels) + 2e-12
    assert metrics.smooth_ece(log_probs, labels) >= abs(gap) - 1 / CELLS


@pytest.mark.parametrize(("temperature", "sign"), [(0.4, 1), (3.0, -1)])
def test_gap_tells_the_direction(temperature: float, sign: int, simulate: Any) -> None:
    assert sign * metrics.confidence_gap(*simulate(1000, 4, temperature=temperature)) > 0.05


def test_errors_of_the_inputs() -> None:
    for error in (*ERRORS, metrics.confidence_gap, metrics.brier_parts):
        with pytest.raises(DataError, match="labels has shape"):
            error(logs([[0.5, 0.5]]), [0, 0])  # type: ignore[operator]
    for error in (metrics.mce, metrics.ece_debiased, metrics.rms_debiased, metrics.ece_classwise, metrics.brier_parts):
        with pytest.raises(ConfigError, match="n_bins is 0"):
            error(logs([[0.5, 0.5]]), [0], 0)  # type: ignore[operator]
