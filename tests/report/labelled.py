"""Labels drawn from a law, several an example."""

from __future__ import annotations

import numpy as np

OPTIONS = {"resamples": 50}


def law(n: int, k: int, seed: int = 0, truth: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities of on and off, and labels from a law whose logits are `truth` times theirs."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, k)) - 0.5
    y = (rng.random((n, k)) < 1 / (1 + np.exp(-truth * logits))).astype(int)
    return -np.logaddexp(0, -logits), -np.logaddexp(0, logits), y
