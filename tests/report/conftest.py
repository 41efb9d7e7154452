from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from bayespeft.predictive.categorical import Predictive
from bayespeft.report import CalibrationReport
from tests.report.view.evil import (
    calibration,
    parts,
    predictive,
)

Data = tuple[NDArray[np.float64], NDArray[np.int64]]


def _simulate(n: int, classes: int, *, seed: int = 0, sharpness: float = 1.5, temperature: float = 1.0) -> Data:
    """Labels drawn from known probabilities; predictions at another temperature (below 1: over-confident)."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(n, classes))
    gumbel = -np.log(-np.log(rng.random((n, classes))))
    scaled = logits / temperature
    log_probs = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
    return log_probs, (logits + gumbel).argmax(axis=1)


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Data]:
    return _simulate


@pytest.fixture(scope="module")
def prediction() -> Predictive:
    return predictive(300)


@pytest.fixture(scope="module")
def full(prediction: Predictive) -> CalibrationReport:
    return calibration(prediction, **parts(prediction))
