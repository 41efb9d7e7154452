"""Predictions that are used together, as data and validation are: what is checked of them."""

from __future__ import annotations

import numpy as np

from bayespeft.errors import ConfigError
from bayespeft.predictive.base import Prediction
from bayespeft.predictive.categorical import Predictive
from bayespeft.report.binning import Floats
from bayespeft.report.metrics.examples import validate_log_probs


def probabilities(prediction: Predictive) -> Floats:
    """Return the probabilities, (n, K), each row divided by its sum.

    Raises:
        DataError: they are no probabilities, such as NaN; see `metrics.examples.validate_log_probs`.
    """
    probs: Floats = np.exp(validate_log_probs(prediction.log_probs.numpy()))
    probs /= probs.sum(axis=1, keepdims=True)
    return probs


def check_alike(what: str, prediction: Prediction, other: str, *, consequence: str, **expected: int) -> None:
    """Check that a prediction has the draws, and the classes or outputs, of another one.

    Args:
        what: was predicted.
        prediction: of it.
        other: what else was predicted.
        consequence: why they must be equal, a clause.
        expected: numbers of that: `draws`, and `classes` or `outputs`.

    Raises:
        ConfigError: they differ.
    """
    for name, number in expected.items():
        own = prediction.draws if name == "draws" else _width(prediction)
        if own != number:
            raise ConfigError(f"{what} was predicted with {own} {name}, and {other} with {number}: {consequence}")


def _width(prediction: Prediction) -> int:
    values = prediction.log_probs if isinstance(prediction, Predictive) else getattr(prediction, "mean", None)
    assert values is not None
    return int(values.shape[-1])
