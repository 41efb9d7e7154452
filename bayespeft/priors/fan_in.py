"""Normal prior scaled by fan-in: a layer's outputs, not its weights, have standard deviation `scale`.

N(center, scale^2 / n) for a matrix of n inputs (Neal 1996, section 2.1): for inputs of unit mean square each output is
~ N(., scale^2), whatever the width. On a head it says how large logits are believed to be.
"""

from __future__ import annotations

import pyro.distributions as dist
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.priors.base import Prior


class FanIn(Prior):
    """N(center, scale^2 / n) for matrices (layers, m, n); N(center, scale^2) for vectors (layers, m), which are biases."""

    scale: float = Field(gt=0)

    def distribution(self, center: Tensor) -> Distribution:
        """Return the normal with all dimensions as event dimensions."""
        fan_in = center.shape[-1] if center.dim() > 2 else 1
        scale = center.new_tensor(self.scale * fan_in**-0.5)
        return dist.Normal(center, scale).expand(center.shape).to_event(center.dim())  # type: ignore[no-any-return]


PRIOR = FanIn
