"""Predictions made by hand."""

from __future__ import annotations

import numpy as np


def predictions(g, n, sharpness=1.0, spread=0.5):
    """Labels, and a function that makes logits of one more method that knows as much of them."""
    common = g.normal(0, 1.5, n)
    labels = (g.random(n) < 1 / (1 + np.exp(-common))).astype(int)
    return labels, lambda: sharpness * (common + g.normal(0, spread, n))


def log_probs(logits):
    return np.stack([-np.logaddexp(0, logits), -np.logaddexp(0, -logits)], 1)
