"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599): one number, fitted to data that training has not seen.

It divides the logits of every draw, before averaging, so an average over draws stays an average of networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

LOWEST, HIGHEST = 0.05, 20.0
# Where the NLL is looked at when a curve over temperatures is kept in place of all predictions.
GRID = tuple(float(t) for t in np.geomspace(0.25, 8.0, 31))


def fit_temperature(draw_log_probs: Tensor, labels: Tensor) -> float:
    """Return the temperature T in [0.05, 20] that minimises -mean ln mean_draws softmax(logits / T)[label].

    Where every temperature is as good as 1, it is 1.

    Args:
        draw_log_probs: (draws, n, K) log-probabilities of each draw: logits up to a constant.
        labels: (n,).
    """
    log_probs = draw_log_probs.double()
    index = labels.expand(log_probs.shape[:2])[..., None]

    def nll(log_temperature: float) -> float:
        return _nll(log_probs, index, math.exp(log_temperature))

    low, high = math.log(LOWEST), math.log(HIGHEST)
    found = minimize_scalar(nll, bounds=(low, high), method="bounded")
    # The search comes near the bounds and never reaches them.
    return math.exp(min((0.0, float(found.x), low, high), key=nll))


def tempered_nlls(draw_log_probs: Tensor, labels: Tensor) -> list[float]:
    """Return the NLL, nats per example, at each temperature of `GRID`; arguments as `fit_temperature`."""
    log_probs = draw_log_probs.double()
    index = labels.expand(log_probs.shape[:2])[..., None]
    return [_nll(log_probs, index, temperature) for temperature in GRID]


def best_temperature(nlls: Sequence[float], rows: int) -> float:
    """Return the temperature that a curve of NLLs over `GRID` makes the most probable, by a parabola around that point.

    Before any row is seen ln T ~ N(0, 1): few rows, or rows of one class, would send it to an end of the grid. Where every
    temperature is as good as 1, it is 1.

    Args:
        nlls: as `tempered_nlls` returns them, or means of several.
        rows: examples that the NLLs are means over.
    """
    nlls = [nll + math.log(t) ** 2 / (2 * rows) for nll, t in zip(nlls, GRID, strict=True)]
    at = min(range(len(GRID)), key=lambda i: (nlls[i], abs(math.log(GRID[i]))))
    if at in (0, len(GRID) - 1):
        return GRID[at]
    left, middle, right = nlls[at - 1 : at + 2]
    curvature = left - 2 * middle + right
    shift = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
    return float(GRID[at] * (GRID[1] / GRID[0]) ** shift)


def _nll(log_probs: Tensor, index: Tensor, temperature: float) -> float:
    """Return -mean ln mean_draws softmax(logits / T)[label]; `index` is the labels, (draws, n, 1)."""
    scaled = torch.log_softmax(log_probs / temperature, -1).gather(-1, index)[..., 0]
    return float(math.log(len(scaled)) - torch.logsumexp(scaled, 0).mean())
