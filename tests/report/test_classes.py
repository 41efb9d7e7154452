"""How each class fares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from bayespeft.report import CalibrationReport
from bayespeft.report.classes import MOST, by_class
from bayespeft.report.metrics import example_scores


def test_class_figures_are_scikit_learns(simulate: Any) -> None:
    log_probs, labels = simulate(300, 4)
    probs, top = np.exp(log_probs), log_probs.argmax(1)
    found = by_class(example_scores(log_probs, labels), ("a", "b"))
    assert found is not None
    assert (np.array(found.confusion) == confusion_matrix(labels, top)).all()
    recalls, precisions = (score(labels, top, average=None) for score in (recall_score, precision_score))
    for k, own in enumerate(found.figures):
        assert own.name == ("a", "b", "2", "3")[k]
        assert own.recall is not None
        assert own.precision is not None
        assert (own.recall.value, own.precision.value) == (pytest.approx(recalls[k]), pytest.approx(precisions[k]))
        assert (own.n, own.predicted) == ((labels == k).sum(), (top == k).sum())
        assert own.claimed == pytest.approx(probs[:, k].mean())


def test_classes_that_are_never_seen_or_answered_have_unknown_figures() -> None:
    found = by_class(example_scores(np.log([[0.6, 0.3, 0.1]] * 3), [0, 1, 1]))
    assert found is not None
    assert found.figures[2].recall is None
    assert found.figures[2].precision is None
    assert found.figures[1].precision is None
    assert found.figures[1].recall is not None
    assert by_class(example_scores(np.full((2, MOST + 1), -np.log(MOST + 1)), [0, 1])) is None


def test_a_report_shows_them_and_reads_them_back(simulate: Any) -> None:
    report = CalibrationReport.from_log_probs(*simulate(300, 3), class_names=("art", "law", "tax"), resamples=20)
    assert CalibrationReport.from_json(report.to_json()) == report
    page = report.to_html()
    assert "Class by class" in page
    assert all(name in page for name in ("art", "law", "tax"))
    many = CalibrationReport.from_log_probs(*simulate(100, MOST + 1), resamples=20)
    assert many.by_class is None
    assert "Class by class" not in many.to_html()
