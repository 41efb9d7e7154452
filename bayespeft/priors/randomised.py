"""Normal prior whose standard deviation is drawn anew at each step: sp = scale + U(0, width). For the ablation.

The Me-LoRA paper's randomised prior. In expectation it is, up to a constant in q, a fixed prior of standard deviation
sqrt(scale (scale + width)).
"""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.priors.base import Prior


class Randomised(Prior):
    """N(center, sp^2 I), sp = scale + width * U(0, 1), drawn with torch's random state at each call."""

    scale: float = Field(default=0.2, gt=0)
    width: float = Field(default=1.0, ge=0)

    def distribution(self, center: Tensor) -> Distribution:
        """Return the normal with a fresh scale, the same for all elements."""
        scale = self.scale + self.width * torch.rand((), device=center.device)
        return dist.Normal(center, scale).expand(center.shape).to_event(center.dim())  # type: ignore[no-any-return]


PRIOR = Randomised
