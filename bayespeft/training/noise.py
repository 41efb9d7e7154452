"""The noise of a regression that nobody gave: the one under which labelled rows are the most probable."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.regression import Regression
from bayespeft.predictive.average import log_mean
from bayespeft.predictive.base import Prediction
from bayespeft.predictive.normal import RegressionPredictive, log_likelihood

# The noise is searched between these parts of the targets' spread: a network in single precision can't tell less from none.
LOWEST, HIGHEST = 1e-3, 10.0


def learns_noise(likelihood: Likelihood) -> bool:
    """Whether a fit is to find the noise."""
    return isinstance(likelihood, Regression) and likelihood.noise is None


def nll_unit(likelihood: Likelihood) -> float:
    """Return by how much an NLL, nats per example, is larger for the units of quantities than for standardised ones."""
    if not isinstance(likelihood, Regression) or likelihood.spread is None:
        return 0.0
    return len(likelihood.center) * math.log(likelihood.spread)


def at_own_noise(nll: float, likelihood: Likelihood) -> float:
    """Return a mean NLL, nats per example, as it would be under the noise that is best for it, where noise is to be found.

    Under a noise far above the errors an NLL hardly moves while these become smaller. Normal errors of mean square m have
    d (m / noise^2 + ln(2 pi noise^2)) / 2, and under their own noise d (1 + ln(2 pi m)) / 2.
    """
    if not isinstance(likelihood, Regression) or likelihood.noise is not None:
        return nll
    targets, noise = max(len(likelihood.center), 1), likelihood.sigma
    constant = math.log(2 * math.pi)
    ratio = max(2 * nll / targets - 2 * math.log(noise) - constant, LOWEST**2)
    return targets * (1 + constant + 2 * math.log(noise) + math.log(ratio)) / 2


def at_best_noise(prediction: Prediction) -> RegressionPredictive:
    """Return a prediction under the noise with which its labels are the most probable.

    Args:
        prediction: of quantities, with labels and what each draw says.
    """
    assert isinstance(prediction, RegressionPredictive)
    from scipy.optimize import minimize_scalar  # slow to import

    assert prediction.labels is not None
    means = prediction.mean.unsqueeze(0) if prediction.draw_means is None else prediction.draw_means.double()
    labels = prediction.labels

    def by_row(noise: float) -> Tensor:
        return log_mean(log_likelihood(means, noise, labels))

    ends = tuple(math.log(part * prediction.noise) for part in (LOWEST, HIGHEST))
    found = minimize_scalar(lambda log_noise: -float(by_row(math.exp(log_noise)).mean()), bounds=ends, method="bounded")
    noise = math.exp(found.x)
    return replace(prediction, noise=noise, log_likelihood=by_row(noise), nll_error=None)


def beside_spread(whole: float, spread: Callable[[float], float]) -> float:
    """Return the noise which, with the variance that a posterior adds, makes up a variance of `whole`^2.

    Rows that a point had not seen gave it a noise as large as its whole error. A spread around that point, found afterwards, is
    a part of the same error.

    Args:
        whole: the noise of the point alone.
        spread: mean variance of the outputs over the posterior under a noise.
    """
    from scipy.optimize import brentq  # slow to import

    def excess(log_noise: float) -> float:
        noise = math.exp(log_noise)
        return noise**2 + spread(noise) - whole**2

    low, high = math.log(LOWEST * whole), math.log(whole)
    if excess(high) <= 0:
        return whole
    return math.exp(low if excess(low) >= 0 else brentq(excess, low, high, xtol=0.01))


def log_likelihood_under(noise: float, before: float, log_likelihood: float, count: int) -> float:
    """Return the log likelihood, nats, of `count` quantities whose log likelihood is known under the noise `before`."""
    squares = -log_likelihood - count * (math.log(before) + 0.5 * math.log(2 * math.pi))
    return log_likelihood + squares * (1 - (before / noise) ** 2) - count * math.log(noise / before)
