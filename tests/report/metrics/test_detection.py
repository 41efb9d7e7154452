"""Detection: how well a score tells two kinds of rows apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from bayespeft.report import metrics

scores = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0, 3.0]), min_size=1, max_size=15)


@given(negatives=scores, positives=scores)
def test_detection_agrees_with_sklearn(negatives: list[float], positives: list[float]) -> None:
    labels, both = [0] * len(negatives) + [1] * len(positives), negatives + positives
    assert metrics.auroc(negatives, positives) == pytest.approx(roc_auc_score(labels, both))
    assert metrics.average_precision(negatives, positives) == pytest.approx(average_precision_score(labels, both))
    false, found, _ = roc_curve(labels, both, drop_intermediate=False)
    assert metrics.false_positive_rate(negatives, positives) == pytest.approx(false[np.argmax(found >= 0.95)])


@pytest.mark.parametrize("digits", [1, 12])
def test_error_detection_agrees_with_sklearn(digits: int, simulate: Any) -> None:
    log_probs, labels = simulate(400, 4)
    probs = np.round(np.exp(log_probs), digits) + 1e-3
    probs /= probs.sum(axis=1, keepdims=True)
    found = metrics.example_scores(np.log(probs), labels)
    wrong = 1 - found.correct
    assert metrics.error_auroc(np.log(probs), labels) == pytest.approx(roc_auc_score(wrong, -found.confidence))
    assert metrics.error_average_precision(np.log(probs), labels) == pytest.approx(
        average_precision_score(wrong, -found.confidence)
    )


def test_detection_agrees_with_torchmetrics(simulate: Any) -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    negatives, positives = rng.random(300), rng.random(200) ** 0.5
    labels = torch.tensor([0] * 300 + [1] * 200)
    both = torch.as_tensor(np.concatenate([negatives, positives]))
    assert metrics.auroc(negatives, positives) == pytest.approx(
        float(torchmetrics.binary_auroc(both, labels)), abs=1e-6
    )
    theirs = float(torchmetrics.binary_average_precision(both, labels))
    assert metrics.average_precision(negatives, positives) == pytest.approx(theirs, abs=1e-6)


def test_detection_at_the_ends() -> None:
    assert (metrics.auroc([0, 1], [2, 3]), metrics.average_precision([0, 1], [2, 3])) == (1, 1)
    assert metrics.false_positive_rate([0, 1], [2, 3]) == 0
    assert (metrics.auroc([2, 3], [0, 1]), metrics.false_positive_rate([2, 3], [0, 1])) == (0, 1)
    assert (metrics.auroc([1] * 3, [1]), metrics.average_precision([1] * 3, [1])) == (0.5, 0.25)
