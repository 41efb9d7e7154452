"""A report of very many classes: the same figures whatever is computed at a time, and never all probabilities in float64."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from bayespeft.report import CalibrationReport
from bayespeft.report.binning import N_BINS, bin_index
from bayespeft.report.metrics import cells, examples
from bayespeft.report.metrics.cells import cell_figures
from bayespeft.report.metrics.examples import example_scores
from bayespeft.report.metrics.tally import Ordered, Tally
from bayespeft.report.tokens import TokenReport


def predictions(n: int, classes: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * sharpness
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), labels


def dense(ordered: Ordered, drawn: np.ndarray) -> dict[str, float]:
    """The definition, over all classes and bins of one resample."""
    p, y, n = ordered.scores.probs, ordered.scores.labels, drawn.sum()
    found = dict.fromkeys(("ece_classwise", "brier_reliability", "brier_resolution", "brier_uncertainty"), 0.0)
    for k in range(p.shape[1]):
        of, bins = drawn * (y == k), bin_index(p[:, k])
        share = of.sum() / n
        found["brier_uncertainty"] += share * (1 - share)
        for b in range(N_BINS):
            here = bins == b
            if count := drawn[here].sum():
                mean, right = (drawn * p[:, k])[here].sum() / count, of[here].sum() / count
                found["ece_classwise"] += count / n * abs(mean - right) / p.shape[1]
                found["brier_reliability"] += count / n * (mean - right) ** 2
                found["brier_resolution"] += count / n * (right - share) ** 2
    return found


@pytest.mark.parametrize("block", [16, 1 << 21])
@pytest.mark.parametrize("kept", [0, 1 << 24])
@pytest.mark.parametrize(("classes", "sharpness"), [(40, 4.0), (3, 1.0)])
def test_figures_of_all_classes_are_those_of_the_definition_whatever_comes_at_a_time(
    monkeypatch: pytest.MonkeyPatch, block: int, kept: int, classes: int, sharpness: float
) -> None:
    monkeypatch.setattr(examples, "BLOCK", block)
    monkeypatch.setattr(cells, "KEPT", kept)
    ordered = Ordered.of(example_scores(*predictions(60, classes, sharpness)))
    drawn = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), size=3).astype(float)
    found = cell_figures(Tally(ordered, drawn))
    for r in range(3):
        for name, value in dense(ordered, drawn[r]).items():
            assert found[name][r] == pytest.approx(value, abs=1e-12), name


def test_blocks_change_no_figure_of_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    logs, labels = predictions(50, 7, 2.0)
    logs[3] = -np.inf
    logs[3, 2] = 0
    whole = example_scores(logs, labels)
    monkeypatch.setattr(examples, "BLOCK", 20)
    parts = example_scores(logs, labels)
    for name in ("confidence", "correct", "nll", "brier", "entropy", "probs", "labels"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name


@pytest.mark.parametrize(
    "report", [CalibrationReport.from_log_probs, partial(TokenReport.from_log_probs, owner=np.arange(400), rows=400)]
)
def test_a_report_of_many_classes_takes_less_than_a_copy_in_double_precision(
    monkeypatch: pytest.MonkeyPatch, report: Callable[..., Any]
) -> None:
    monkeypatch.setattr(examples, "BLOCK", 1 << 14)
    monkeypatch.setattr(cells, "KEPT", 0)
    logs, labels = predictions(400, 20_000, 3.0)
    logs = logs.astype(np.float32)
    tracemalloc.start()
    try:
        report(logs, labels, resamples=50)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 8 * logs.size
