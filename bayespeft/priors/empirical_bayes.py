"""Normal prior with one scale for each layer, learned from q (empirical Bayes).

The scale that minimises KL(q || N(center, sp^2 I)) is sp^2 = mean(w^2 + (M - center)^2) over the layer's elements
(MacKay 1992). With `strength` pseudo-observations at `scale` (an inverse-gamma hyper-prior) it can't collapse to zero, and
serves point factors too: sp then minimises KL + h, h = strength (ln sp + scale^2 / (2 sp^2)) for each layer. At the minimum
the derivative of KL + h by sp is zero, so that training, which takes sp as a constant, follows the gradient of the minimum
of KL + h by q. The loss and the KL that are reported leave h out: they are KL(q || N(center, sp^2 I)) at that sp.
"""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.priors.base import Prior


class EmpiricalBayes(Prior):
    """N(center, sp^2 I) with sp^2 = (strength scale^2 + sum(w^2 + (M - center)^2)) / (strength + elements), for each layer.

    Attributes:
        scale: standard deviation that the hyper-prior expects.
        strength: how many elements the hyper-prior is worth. On a point factor it must not be small beside the number
            of elements that should move, or the scale learns that nothing moves.
    """

    scale: float = Field(default=0.4, gt=0)
    strength: float = Field(default=1.0, gt=0)

    def distribution(self, center: Tensor) -> Distribution:
        """Return the prior before anything is learned: Normal(center, scale)."""
        return dist.Normal(center, center.new_tensor(self.scale)).expand(center.shape).to_event(center.dim())  # type: ignore[no-any-return]

    def fitted(self, center: Tensor, q: Distribution) -> Distribution:
        """Return Normal(center, sp) with the best sp of each layer."""
        scales = self.learned(center, q).reshape(-1, *[1] * (center.dim() - 1))
        return dist.Normal(center, scales.expand(center.shape)).to_event(center.dim())  # type: ignore[no-any-return]

    def learned(self, center: Tensor, q: Distribution) -> Tensor:
        """Return sp of each layer: (layers,)."""
        with torch.no_grad():
            moment = (q.variance + (q.mean - center) ** 2).flatten(1)
            total = self.strength * self.scale**2 + moment.sum(1)
            return (total / (self.strength + moment.shape[1])).sqrt()


PRIOR = EmpiricalBayes
