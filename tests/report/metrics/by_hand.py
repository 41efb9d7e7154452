"""Log-probabilities made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayespeft.report import metrics


def logs(rows: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(rows, dtype=np.float64))


def grouped(*groups: tuple[float, int, int]) -> Any:
    """Two classes; each group has a confidence of class 0, a number of examples, and how many of these are right."""
    probs = np.concatenate([np.full(n, c) for c, n, _ in groups])
    labels = np.concatenate([np.arange(n) >= right for _, n, right in groups]).astype(int)
    return logs(np.stack([probs, 1 - probs], axis=1)), labels


GOOD = logs([[0.5, 0.5], [0.9, 0.1]])


ALL = (metrics.accuracy, metrics.nll, metrics.brier, metrics.ece, metrics.ece_equal_mass)
