"""Automatic relevance determination: a normal prior with one scale for each element, learned from q.

The best scale is sp^2 = w^2 + (M - center)^2, which leaves KL = 1/2 sum ln(1 + (M - center)^2 / w^2) for a diagonal q
(Molchanov et al. 2017, arXiv 1701.05369, is its relative with a log-uniform prior). It depends on signal to noise only, so
no other factor can absorb it by rescaling.
"""

from __future__ import annotations

from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.priors.base import Prior


class Ard(Prior):
    """N(center, w^2 + (M - center)^2), element by element. For latent factors only: around a point it has no width."""

    needs_spread: ClassVar[bool] = True

    def distribution(self, center: Tensor) -> Distribution:
        """Return the prior before anything is learned: Normal(center, 1)."""
        return dist.Normal(center, torch.ones_like(center)).to_event(center.dim())  # type: ignore[no-any-return]

    def fitted(self, center: Tensor, q: Distribution) -> Distribution:
        """Return the normal with the best scale of each element; its gradient takes the scale as a constant."""
        with torch.no_grad():
            scale = (q.variance + (q.mean - center) ** 2).sqrt()
        return dist.Normal(center, scale).to_event(center.dim())  # type: ignore[no-any-return]


PRIOR = Ard
