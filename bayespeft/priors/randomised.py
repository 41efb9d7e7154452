"""Normal prior whose standard deviation is drawn anew at each step: sp = scale + U(0, width). For the ablation.

The Me-LoRA paper's randomised prior. With E[1 / sp^2] = 1 / (s (s + c)), s the scale and c the width, it is in expectation a
fixed prior of standard deviation sqrt(s (s + c)), up to a constant in q, E[ln sp] - 1/2 ln(s (s + c)) for each element. One
draw says nothing of q: what is reported is that expectation.
"""

from __future__ import annotations

import math

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

    def reported(self, center: Tensor, q: Distribution) -> tuple[Distribution, float]:
        """Return Normal(center, sqrt(s (s + c))), and what E[ln sp] differs by from the logarithm of that."""
        relative = self.width / self.scale
        # E[ln sp] = ((s + c) ln(s + c) - s ln s) / c - 1, less ln s: without differences of large numbers where c is small.
        rise = (1 + relative) * math.log1p(relative) / relative - 1 if relative else 0.0
        scale = center.new_tensor(self.scale * math.sqrt(1 + relative))
        law = dist.Normal(center, scale).expand(center.shape).to_event(center.dim())
        return law, rise - 0.5 * math.log1p(relative)


PRIOR = Randomised
