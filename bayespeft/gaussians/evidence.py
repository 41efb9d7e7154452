"""Marginal likelihood of a Laplace approximation as a function of the prior precision, and where it is highest.

Prior N(theta0, I / tau), log likelihood quadratic around the point theta with Hessian -H (eigenvalues h):
log p(D) = log p(D | theta) - tau/2 |theta - theta0|^2 + P/2 ln tau - 1/2 sum ln(h + tau)
(MacKay 1992, Neural Computation 4(3); Immer et al. 2021, arXiv 2104.04975). Exact for a linear Gaussian model at its mode.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Precisions are searched between these, which are standard deviations from 1000 to 1e-4: beyond, the data say nothing, or
# nothing moves.
LOWEST, HIGHEST = 1e-6, 1e8


def log_evidence(log_likelihood: float, squared_distance: float, eigenvalues: Tensor, precision: float) -> float:
    """Return log p(D) in nats.

    Args:
        log_likelihood: log p(D | theta) at the point, of all data, nats.
        squared_distance: |theta - theta0|^2.
        eigenvalues: of H, (P,), not negative; flat directions add nothing.
        precision: tau.
    """
    # This is P/2 ln tau - 1/2 sum ln(h + tau), computed without a difference of large sums.
    occam = torch.log1p(eigenvalues.double() / precision).sum()
    return log_likelihood - 0.5 * precision * squared_distance - 0.5 * float(occam)


def best_precision(squared_distance: float, eigenvalues: Tensor, start: float) -> float:
    """Return the prior precision tau with the highest evidence, for a point that stays where it is.

    There MacKay's equation holds: tau |theta - theta0|^2 = sum h / (h + tau), the number of well-determined parameters. Its
    left side rises with tau and its right side falls, so that the evidence has one maximum, and brackets find it. It is
    sought from 1e-6 to 1e8: a point that never left theta0 gets 1e8.

    Args:
        squared_distance: |theta - theta0|^2.
        eigenvalues: of H, (P,), not negative.
        start: returned where H = 0: the data know nothing of the parameters.
    """
    from scipy.optimize import brentq  # slow to import

    values = eigenvalues.double()
    if not bool((values > 0).any()):
        return start

    def slope(log_precision: float) -> float:
        precision = math.exp(log_precision)
        return float((values / (values + precision)).sum()) - precision * squared_distance

    low, high = math.log(LOWEST), math.log(HIGHEST)
    if slope(low) <= 0:
        return LOWEST
    if slope(high) >= 0:
        return HIGHEST
    return math.exp(brentq(slope, low, high, xtol=1e-10))
