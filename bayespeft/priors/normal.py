"""Independent normal prior: each element ~ N(center, scale^2).

On a latent factor it enters through the closed-form KL; on a point factor it makes the estimate MAP.
"""

from __future__ import annotations

import pyro.distributions as dist
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.priors.base import Prior


class Normal(Prior):
    """N(center, scale^2 I); `scale` is the standard deviation of each element."""

    scale: float = Field(gt=0)

    def distribution(self, center: Tensor) -> Distribution:
        """Return `Normal(center, scale)` with all dimensions as event dimensions."""
        return dist.Normal(center, center.new_tensor(self.scale)).expand(center.shape).to_event(center.dim())  # type: ignore[no-any-return]


PRIOR = Normal
