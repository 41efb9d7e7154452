"""The smooth calibration error: its definition, and its continuity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from bayespeft.report import metrics
from bayespeft.report.binning import CELLS
from tests.report.metrics.by_hand import grouped


def smooth_by_quadrature(confidence: Any, correct: Any) -> float:
    """The definition: reflected Gaussians summed one by one at each point, no cells and no transform."""
    t = (np.arange(4000) + 0.5) / 4000

    def error(width: float) -> float:
        images = [t[:, None] - confidence, t[:, None] + confidence, t[:, None] + confidence - 2]
        # Further images, for wide kernels.
        images += [t[:, None] - confidence + 2, t[:, None] - confidence - 2]
        kernel = sum(norm.pdf(x, scale=width) for x in images)
        return float(np.abs((kernel * (correct - confidence)).mean(1)).mean())

    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) > middle else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize(("n", "temperature"), [(3, 0.5), (60, 1.0), (150, 0.4), (150, 3.0)])
def test_smooth_error_is_its_definition(n: int, temperature: float, simulate: Any) -> None:
    log_probs, labels = simulate(n, 3, temperature=temperature)
    scores = metrics.example_scores(log_probs, labels)
    assert metrics.smooth_ece(log_probs, labels) == pytest.approx(
        smooth_by_quadrature(scores.confidence, scores.correct), abs=1.5 / CELLS
    )


def test_smooth_error_is_continuous_where_a_binned_one_jumps() -> None:
    """Right just above a bin's edge, wrong just below it: bins part what a hair parts (the paper's section 1)."""
    for hair in (1e-4, -1e-4):
        data = grouped((0.6 + hair, 60, 60), (0.6 - hair, 40, 0))
        assert metrics.ece(*data) == pytest.approx(0.48, abs=1e-3)
        assert metrics.smooth_ece(*data) < 0.03
    assert metrics.ece(*grouped((0.61, 60, 60), (0.6099, 40, 0))) == pytest.approx(0.01, abs=1e-3)
