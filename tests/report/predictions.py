"""Predictions made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
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


def drawn(draw_log_probs: torch.Tensor, labels: torch.Tensor) -> Predictive:
    """Draws' (draws, n, classes) log-probabilities, up to constants, as a prediction that kept them."""
    logs = torch.log_softmax(draw_log_probs.double(), -1).logsumexp(0) - math.log(len(draw_log_probs))
    return replace(predictive(logs, labels), draws=len(draw_log_probs), draw_log_probs=draw_log_probs)


class Never:
    """Stands where a posterior would predict data that is none yet."""

    def predict(self, data: Any) -> Any:
        raise AssertionError("a prediction is not predicted again")


class Always:
    """Predicts the same whatever it is asked for, and remembers what that was."""

    def __init__(self, prediction: Any) -> None:
        self.prediction = prediction
        self.asked: list[Any] = []

    def predict(self, data: Any) -> Any:
        self.asked.append(data)
        return self.prediction
