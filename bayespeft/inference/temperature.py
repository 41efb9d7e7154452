"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599): one number, fitted to data that training has not seen.

It divides the logits of every draw, before averaging, so an average over draws stays an average of networks.
"""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

LOWEST, HIGHEST = 0.05, 20.0


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
        scaled = torch.log_softmax(log_probs / math.exp(log_temperature), -1).gather(-1, index)[..., 0]
        return float(math.log(len(scaled)) - torch.logsumexp(scaled, 0).mean())

    low, high = math.log(LOWEST), math.log(HIGHEST)
    found = minimize_scalar(nll, bounds=(low, high), method="bounded")
    # The search comes near the bounds and never reaches them.
    return math.exp(min((0.0, float(found.x), low, high), key=nll))
