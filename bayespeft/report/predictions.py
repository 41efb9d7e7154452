"""Predictions that are used together, as data and validation are: what is checked of them."""

from __future__ import annotations

import numpy as np

from bayespeft.errors import ConfigError
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


def check_alike(what: str, prediction: Predictive, other: str, *, draws: int, classes: int, consequence: str) -> None:
    """Check that a prediction has the draws and classes of another one.

    Args:
        what: was predicted.
        prediction: of it.
        other: what else was predicted.
        draws: of that.
        classes: of that.
        consequence: why they must be equal, a clause.

    Raises:
        ConfigError: they differ.
    """
    found = {"draws": (prediction.draws, draws), "classes": (prediction.log_probs.shape[-1], classes)}
    for name, (own, expected) in found.items():
        if own != expected:
            raise ConfigError(f"{what} was predicted with {own} {name}, and {other} with {expected}: {consequence}")
