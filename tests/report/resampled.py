"""Intervals of some metrics, and predictions of two classes to make them of."""

from __future__ import annotations

from typing import Any

import numpy as np

from bayespeft.report import bootstrap
from bayespeft.report.metrics.spec import table

METRICS = ("accuracy", "nll", "brier", "ece", "ece_equal_mass")
SPECS = [spec for spec in table() if spec.name in METRICS]


def intervals(scores: Any, **settings: Any) -> Any:
    return bootstrap.intervals(scores, SPECS, **settings)


def binary(confidence: Any) -> Any:
    """Log-probabilities with class 0 at the given confidences."""
    return np.log(np.stack([confidence, 1 - np.asarray(confidence)], axis=1))
