"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599): one number, fitted to data that training has not seen.

It divides the logits of every draw, before averaging, so an average over draws stays an average of networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from bayespeft.errors import DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.predictive.base import Prediction
from bayespeft.predictive.categorical import Predictive
from bayespeft.utils.warned import warn

LOWEST, HIGHEST = 0.05, 20.0
# Where predictions are too many to keep, the NLL is kept at these temperatures.
GRID = tuple(float(t) for t in np.geomspace(0.25, 8.0, 31))
ONE = min(range(len(GRID)), key=lambda i: abs(GRID[i] - 1))
# The standard deviation of ln T from task to task, which is what is known of a temperature before any row is seen.
KNOWN = 0.5


def fit_temperature(nll: Callable[[float], float]) -> float:
    """Return the temperature T in [0.05, 20] that minimises an NLL as a function of T.

    Where every temperature is as good as 1, it is 1.

    Args:
        nll: such as `Prediction.tempered_nll` of data that training has not seen.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    low, high = math.log(LOWEST), math.log(HIGHEST)
    found = minimize_scalar(lambda log: nll(math.exp(log)), bounds=(low, high), method="bounded")
    # The search comes near the bounds and never reaches them.
    return math.exp(min((0.0, float(found.x), low, high), key=lambda log: nll(math.exp(log))))


def warn_of_bounds(nll: Callable[[float], float], temperature: float, rows: int) -> None:
    """Warn where no temperature is too low, so that predictions of other rows would be as good as certain, or none too high.

    Args:
        nll: as for `fit_temperature`, which found
        temperature: this one.
        rows: examples that it was found on.
    """
    if temperature < 1 and nll(LOWEST) <= nll(temperature) + 1e-6:
        warn(
            f"no temperature is best for these {rows} rows, for each of which the label is the most probable class: lower is "
            f"always better. {temperature:.3g} makes predictions of other rows as good as certain, and nothing is known of "
            "those: pass more rows, among them some that are answered wrongly.",
        )
    elif temperature > HIGHEST * (1 - 1e-6):
        warn(
            f"no temperature is best for these {rows} rows, whose labels go against the predictions: higher is always better, "
            f"and {temperature:.3g}, the highest, leaves predictions that say next to nothing. See whether these labels are "
            "numbered as those of the training rows are, and whether the network has learned anything yet.",
        )


def as_weighed(prediction: Prediction, likelihood: Likelihood) -> Callable[[float], float]:
    """Return the mean NLL of a prediction as a function of a temperature, of rows that are weighed as in the objective.

    So what held-out rows judge is the law that training aims at. Weights are divided by their sum over these rows.

    Args:
        prediction: of labelled rows, with its draws.
        likelihood: that training took.

    Raises:
        DataError: every row has the weight 0.
    """
    labels = getattr(prediction, "labels", None)
    weights = None if labels is None else likelihood.row_weights(labels)
    if weights is None or not isinstance(prediction, Predictive):
        return prediction.tempered_nll
    if not bool(weights.any()):
        raise DataError(
            "no row that is to judge has a class of positive weight: hold out, or pass, rows of the others."
        )
    share = weights.double() / weights.double().sum()

    def nll(temperature: float) -> float:
        scaled = prediction.tempered_log_likelihood(temperature)
        return float(math.log(len(scaled)) - (share * torch.logsumexp(scaled, 0)).sum())

    return nll


def tempered_nlls(nll: Callable[[float], float]) -> list[float]:
    """Return an NLL, nats per example, at each temperature of `GRID`; argument as `fit_temperature`."""
    return [nll(temperature) for temperature in GRID]


def best_temperature(nlls: Sequence[float], rows: int) -> float:
    """Return the temperature that a curve of NLLs over `GRID` makes the most probable, by a parabola around that point.

    Before any row is seen ln T ~ N(0, `KNOWN`^2): few rows, or rows of one class, would send it to an end of the grid. Where
    every temperature is as good as 1, it is 1.

    Args:
        nlls: as `tempered_nlls` returns them, or means of several.
        rows: examples that the NLLs are means over.
    """
    nlls = [nll + math.log(t) ** 2 / (2 * rows * KNOWN**2) for nll, t in zip(nlls, GRID, strict=True)]
    at = min(range(len(GRID)), key=lambda i: (nlls[i], abs(math.log(GRID[i]))))
    if at in (0, len(GRID) - 1):
        return GRID[at]
    left, middle, right = nlls[at - 1 : at + 2]
    curvature = left - 2 * middle + right
    shift = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
    return float(GRID[at] * (GRID[1] / GRID[0]) ** shift)


def of_all_rows(temperature: float, share: float, held: float, own: float) -> float:
    """Return the temperature of a fit to all rows, from that of fits to some of them, which the others judged.

    With fewer rows to learn from, maximum likelihood is the more sure of itself where it is wrong, and a prior that weighs as
    much holds a posterior further back: how far ln T is from 0 falls with the number of rows, to first order as one over it.
    A fit that knows its own rows by heart is no less sure of itself for having more of them: there nothing falls. In between
    it is the relative overfitting that tells, as in the .632+ bootstrap (Efron and Tibshirani 1997, JASA 92, 548).

    Args:
        temperature: of the fits to some rows.
        share: of all rows, how many those fits had.
        held: NLL of the rows held out at that temperature, nats per example.
        own: NLL of its own rows, of the fit to all at temperature 1, nats per example.
    """
    falls = min(own / held, 1 - share) if held > 0 else 0.0
    return float(temperature ** (1 - falls))
