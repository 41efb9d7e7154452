"""What is read of predictions here, whatever class they are of, and what is checked of those that are used together."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.report.binning import Floats
from bayespeft.report.metrics.examples import validate_log_probs


@runtime_checkable
class ClassPrediction(Protocol):
    """A prediction of one of K classes for each of n examples, as `bayespeft.predictive.categorical.Predictive`."""

    @property
    def labels(self) -> Tensor | None:
        """(n,) int64."""

    @property
    def draws(self) -> int:
        """Draws that were averaged."""

    @property
    def backward_passes(self) -> int:
        """Passes backwards: none where weights were drawn."""

    @property
    def nll_error(self) -> float | None:
        """Monte Carlo standard error of the mean NLL, nats; None where draws are not independent."""

    @property
    def log_probs(self) -> Tensor:
        """(n, K)."""

    @property
    def log_likelihood(self) -> Tensor | None:
        """(n,) log of the averaged probability of the labels."""

    @property
    def draw_log_probs(self) -> Tensor | None:
        """(draws, n, K), where they were kept."""

    @property
    def entropy(self) -> Tensor:
        """(n,) nats."""

    @property
    def mutual_information(self) -> Tensor:
        """(n,) nats."""


@runtime_checkable
class QuantityPrediction(Protocol):
    """A prediction of d quantities for each of n examples, as `bayespeft.predictive.normal.RegressionPredictive`."""

    @property
    def labels(self) -> Tensor | None:
        """(n, d)."""

    @property
    def draws(self) -> int:
        """Draws that were averaged."""

    @property
    def mean(self) -> Tensor:
        """(n, d)."""

    @property
    def std(self) -> Tensor:
        """(n, d)."""

    def components(self) -> tuple[Tensor, Tensor]:
        """Return means (S, n, d) and standard deviations (1, n, d)."""


@runtime_checkable
class LabelsPrediction(Protocol):
    """A prediction of K labels, each on or off, as `bayespeft.predictive.multi_label.MultiLabelPredictive`."""

    @property
    def labels(self) -> Tensor | None:
        """(n, K), 1 or 0."""

    @property
    def draws(self) -> int:
        """Draws that were averaged."""

    @property
    def probs(self) -> Tensor:
        """(n, K)."""

    @property
    def predicted(self) -> Tensor:
        """(n, K) bool."""


class Predictor(Protocol):
    """Predicts data as those were that a promise is calibrated on: by the same posterior, with the same draws and seed."""

    def predict(self, data: Any) -> Any:
        """Return the prediction of data, in any form that `Posterior.predict` takes."""


def probabilities(prediction: ClassPrediction) -> Floats:
    """Return the probabilities, (n, K), each row divided by its sum.

    Raises:
        DataError: they are no probabilities, such as NaN; see `metrics.examples.validate_log_probs`.
    """
    probs: Floats = np.exp(validate_log_probs(prediction.log_probs.numpy()))
    probs /= probs.sum(axis=1, keepdims=True)
    return probs


def check_alike(what: str, other: str, *, consequence: str, **numbers: tuple[int, int]) -> None:
    """Check that two predictions have as many draws, and as many classes or outputs.

    Args:
        what: was predicted.
        other: what else was predicted.
        consequence: why they must be equal, a clause.
        numbers: `draws`, and `classes` or `outputs`, of either.

    Raises:
        ConfigError: they differ.
    """
    for name, (own, expected) in numbers.items():
        if own != expected:
            raise ConfigError(f"{what} was predicted with {own} {name}, and {other} with {expected}: {consequence}")
