from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from bayespeft.errors import DataError
from bayespeft.report import MixtureReport, MultiLabelReport, RegressionReport, TokenReport, metrics
from bayespeft.report.language import LanguageReport
from tests.report.metrics.by_hand import ALL, GOOD, logs


@st.composite
def predictions(draw: st.DrawFn, max_n: int = 30) -> Any:
    """Log-probabilities, some of them -inf, and labels."""
    n, classes = draw(st.integers(1, max_n)), draw(st.integers(1, 6))
    weights = draw(arrays(np.float64, (n, classes), elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, 3.0, 1e-30])))
    weights[np.arange(n), draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))] += 1.0
    labels = draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    return logs(weights / weights.sum(axis=1, keepdims=True)), labels


# Closed forms


def test_log_probabilities_count_as_they_are_and_zero_as_the_smallest_positive_float64() -> None:
    assert pytest.approx(math.log(math.ulp(0.0)), rel=1e-14) == metrics.LOG_ZERO
    for given_log, seen in [
        (-np.inf, metrics.LOG_ZERO),
        (-200.0, -200.0),
        (-27_707.5, -27_707.5),
        (-1e30, -1e30),
        (-103.0, -103.0),
        (-2e-9, -2e-9),
    ]:
        rest = np.log1p(-np.exp(given_log))
        assert metrics.nll([[given_log, rest]], [0]) == pytest.approx(-seen, rel=1e-6)


def test_prediction_among_equals_is_the_lowest_class() -> None:
    assert metrics.accuracy(logs([[0.5, 0.5]] * 2), [0, 1]) == 0.5
    assert metrics.accuracy(logs([[0.2, 0.4, 0.4]]), [1]) == 1.0


# Bins of equal mass


# Second opinions


@pytest.mark.parametrize("classes", [2, 3, 20])
@pytest.mark.parametrize("n_bins", [10, 15])
def test_ece_agrees_with_torchmetrics(classes: int, n_bins: int, simulate: Any) -> None:
    calibration = pytest.importorskip("torchmetrics.functional.classification")
    log_probs, labels = simulate(2000, classes, temperature=0.6)
    theirs = calibration.multiclass_calibration_error(
        torch.as_tensor(log_probs).exp(), torch.as_tensor(labels), num_classes=classes, n_bins=n_bins, norm="l1"
    )
    assert metrics.ece(log_probs, labels, n_bins) == pytest.approx(float(theirs), abs=1e-6)  # they sum in float32
    assert metrics.ece(log_probs, labels, n_bins) > 0.05


def test_entropy_agrees_with_scipy(simulate: Any) -> None:
    log_probs, labels = simulate(100, 5)
    assert metrics.example_scores(log_probs, labels).entropy == pytest.approx(entropy(np.exp(log_probs), axis=1))


# Properties


@given(data=predictions())
def test_every_score_is_in_its_range(data: Any) -> None:
    log_probs, labels = data
    scores = metrics.example_scores(log_probs, labels)
    classes = log_probs.shape[1]
    assert np.all((scores.confidence >= 1 / classes - 1e-12) & (scores.confidence <= 1))
    assert np.all((scores.nll >= 0) & (scores.nll <= -metrics.LOG_ZERO))
    assert np.all((scores.brier >= 0) & (scores.brier <= 2 + 1e-12))
    assert np.all((scores.entropy >= 0) & (scores.entropy <= math.log(classes) + 1e-12))
    assert set(scores.correct) <= {0.0, 1.0}
    error, gap = metrics.ece(log_probs, labels), abs(scores.confidence.mean() - scores.correct.mean())
    assert gap - 1e-12 <= error <= 1
    assert gap - 1e-12 <= metrics.ece_equal_mass(log_probs, labels) <= 1
    bins = metrics.bins(log_probs, labels)
    assert sum(b.count for b in bins) == len(labels)
    from_bins = sum(b.count * abs(b.accuracy - b.confidence) for b in bins if b.count) / len(labels)  # type: ignore[operator]
    assert error == pytest.approx(from_bins, abs=1e-12)


@given(data=predictions(), seed=st.integers(0, 2**32 - 1))
def test_order_of_examples_does_not_matter(data: Any, seed: int) -> None:
    log_probs, labels = data
    order = np.random.default_rng(seed).permutation(len(labels))
    for metric in ALL:
        assert metric(log_probs[order], labels[order]) == pytest.approx(metric(log_probs, labels), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_names_of_classes_do_not_matter(seed: int, simulate: Any) -> None:
    log_probs, labels = simulate(200, 6, seed=seed)
    old_of_new = np.random.default_rng(seed).permutation(6)
    for metric in ALL:
        assert metric(log_probs[:, old_of_new], np.argsort(old_of_new)[labels]) == pytest.approx(
            metric(log_probs, labels), abs=1e-12
        )


@given(data=predictions(), off=st.floats(-9e-4, 9e-4))
def test_rows_are_normalised_within_the_tolerance(data: Any, off: float) -> None:
    log_probs, labels = data
    for metric in (metrics.accuracy, metrics.nll, metrics.brier):
        assert metric(log_probs + math.log1p(off), labels) == pytest.approx(metric(log_probs, labels), abs=1e-9)


def test_inputs_are_read_from_lists_and_tensors_and_left_alone(simulate: Any) -> None:
    log_probs, labels = simulate(50, 3)
    copies = log_probs.copy(), labels.copy()
    expected = [metric(log_probs, labels) for metric in ALL]
    assert [metric(log_probs.tolist(), labels.tolist()) for metric in ALL] == expected
    assert [metric(torch.as_tensor(log_probs), torch.as_tensor(labels)) for metric in ALL] == expected  # type: ignore[arg-type]
    in_float32 = [metric(log_probs.astype(np.float32), labels.astype(np.uint8)) for metric in ALL]
    assert in_float32 == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(log_probs, copies[0])
    assert np.array_equal(labels, copies[1])


# Errors


@pytest.mark.parametrize(
    ("log_probs", "labels", "message"),
    [
        (GOOD[0], [0], r"shape \(2,\); \(examples, classes\)"),
        (np.empty((0, 2)), np.empty(0, int), r"at least one of each"),
        (np.empty((2, 0)), [0, 0], r"at least one of each"),
        (GOOD, [0], r"labels has shape \(1,\), but log_probs has 2 rows: pass one label for each row"),
        (GOOD, [[0], [1]], r"labels has shape \(2, 1\)"),
        (GOOD, [0.0, 1.0], r"labels are float64, integers are expected: pass class indices"),
        (GOOD, [0, 2], r"label 2 is not in 0\.\.1 at row 1 of 2\. Drop ignored examples"),
        (GOOD, [-100, -100], r"label -100 is not in 0\.\.1 at row 0 \(and 1 more\) of 2"),
        ([[0.0, -np.inf], [np.nan, 0.0]], [0, 0], r"log_probs is NaN at row 1 of 2\. Look for an overflow"),
        ([[0.0, -np.inf], [3.0, 1.0]], [0, 0], r"sum to 22\.8038, not 1, at row 1 of 2\. Pass natural-log"),
        ([[0.0, -np.inf], [0.7, 0.3]], [0, 0], r"probabilities sum to .*log_softmax"),
        ([[np.inf, -np.inf]], [0], r"probabilities sum to inf"),
        ([[1e6, 0.0]], [0], r"probabilities sum to inf"),
        ([[-np.inf, -np.inf]], [0], r"probabilities sum to 0, not 1"),
        ([[math.log(0.5), math.log(0.498)]], [0], r"probabilities sum to 0\.998"),
        ([[0.0], [0.0, 0.0]], [0, 0], r"can't be read as an array"),
        (torch.zeros(1, 1, requires_grad=True), [0], r"can't be read .*detach\(\)"),
        (torch.zeros(1, 1, dtype=torch.bfloat16), [0], r"can't be read .*float\(\)"),
    ],
)
def test_unusable_data_is_an_error_that_says_where(log_probs: Any, labels: Any, message: str) -> None:
    for metric in ALL:
        with pytest.raises(DataError, match=message):
            metric(log_probs, labels)


RAGGED = [[0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (lambda: LanguageReport.from_log_likelihood(RAGGED, [1, 1]), "log_likelihood"),
        (lambda: MixtureReport.from_log_likelihood([-1.0, -1.0], RAGGED, [0.0, 0.0]), "mean"),
        (lambda: MultiLabelReport.from_log_probs(GOOD, GOOD, RAGGED), "labels"),
        (lambda: RegressionReport.from_mixture(np.zeros((1, 2, 1)), RAGGED, np.zeros((2, 1))), "stds"),
        (lambda: TokenReport.from_log_probs(GOOD, [0, 1], RAGGED, 2), "owner"),
    ],
)
def test_what_is_no_array_is_refused_by_its_name(made: Any, name: str) -> None:
    with pytest.raises(DataError, match=f"^{name} can't be read as an array"):
        made()


def test_the_nll_of_a_report_is_the_cross_entropy_however_large_the_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(40, 3, generator=generator), torch.randint(3, (40,), generator=generator)
    for scale in (1.0, 1e3, 1e5, 1e30):
        log_probs = torch.log_softmax(scale * logits.double(), -1)
        wanted = float(torch.nn.functional.cross_entropy(scale * logits.double(), labels))
        assert metrics.nll(log_probs.numpy(), labels.numpy()) == pytest.approx(wanted, rel=1e-12)
