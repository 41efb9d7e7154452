"""Predictions made by hand."""

from __future__ import annotations

from typing import Any

import torch

from bayespeft.predictive.categorical import Predictive


def predictive(log_probs: Any, labels: Any = None) -> Predictive:
    """One draw's (n, classes) log-probabilities as a prediction."""
    logs = torch.as_tensor(log_probs)
    return Predictive(
        labels=None if labels is None else torch.as_tensor(labels),
        draws=1,
        forward_passes=1,
        seconds=0.0,
        log_probs=logs,
        expected_entropy=torch.zeros(len(logs), dtype=torch.float64),
    )
