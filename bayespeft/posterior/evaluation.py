"""Predictions with labels to numbers: the report, and the two numbers that training shows. One function a kind of label."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from bayespeft.errors import DataError
from bayespeft.predictive.base import Prediction
from bayespeft.predictive.categorical import Predictive
from bayespeft.predictive.language import LanguagePredictive
from bayespeft.predictive.normal import RegressionPredictive
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.language import LanguageReport
from bayespeft.report.metrics import accuracy, nll
from bayespeft.report.regression import RegressionReport


@singledispatch
def measure(prediction: Prediction, **facts: Any) -> CalibrationReport | RegressionReport | LanguageReport:
    """Return the report of a prediction with labels.

    Args:
        prediction: a regression's with its draws kept.
        facts: what the prediction does not know of itself: parameters, method, name; seed and resamples of the bootstrap.

    Raises:
        DataError: no report is known for such a prediction.
    """
    raise DataError(f"there is no report on a {type(prediction).__name__}.")


@measure.register
def _(prediction: Predictive, **facts: Any) -> CalibrationReport:
    assert prediction.labels is not None
    return CalibrationReport.from_log_probs(
        prediction.log_probs.numpy(),
        prediction.labels.numpy(),
        # One network, drawn or the mean, says nothing about how far networks differ.
        mutual_information=float(prediction.mutual_information.mean()) if prediction.draws > 1 else None,
        **_cost(prediction),
        **facts,
    )


@measure.register
def _(prediction: RegressionPredictive, **facts: Any) -> RegressionReport:
    assert prediction.labels is not None
    assert prediction.log_likelihood is not None
    means, stds = prediction.components()
    return RegressionReport.from_mixture(
        means.numpy(),
        stds.numpy(),
        prediction.labels.double().numpy(),
        log_likelihood=prediction.log_likelihood.numpy(),
        epistemic=float(prediction.epistemic.mean()) ** 0.5,
        noise=prediction.noise,
        **_cost(prediction),
        **facts,
    )


@measure.register
def _(prediction: LanguagePredictive, **facts: Any) -> LanguageReport:
    return LanguageReport.from_log_likelihood(
        prediction.log_likelihood.numpy(), prediction.tokens.numpy(), **_cost(prediction), **facts
    )


@singledispatch
def brief(prediction: Prediction) -> dict[str, float]:
    """Return the NLL (nats) of a prediction with labels, and accuracy or RMSE.

    Raises:
        DataError: no such numbers are known for such a prediction.
    """
    raise DataError(f"there is nothing to measure on a {type(prediction).__name__}.")


@brief.register
def _(prediction: Predictive) -> dict[str, float]:
    assert prediction.labels is not None
    log_probs, labels = prediction.log_probs.numpy(), prediction.labels.numpy()
    return {"nll": nll(log_probs, labels), "accuracy": accuracy(log_probs, labels)}


@brief.register
def _(prediction: RegressionPredictive) -> dict[str, float]:
    assert prediction.labels is not None
    assert prediction.log_likelihood is not None
    error = (prediction.mean - prediction.labels).square().mean().sqrt()
    return {"nll": -float(prediction.log_likelihood.mean()), "rmse": float(error)}


@brief.register
def _(prediction: LanguagePredictive) -> dict[str, float]:
    return {"nll": -float(prediction.log_likelihood.mean()), "nll_per_token": prediction.nll_per_token}


def _cost(prediction: Prediction) -> dict[str, Any]:
    names = ("draws", "forward_passes", "backward_passes", "nll_error", "seconds", "peak_memory_bytes")
    return {name: getattr(prediction, name) for name in names}
