"""Flat (improper) prior: nothing is believed; a point estimate under it is maximum likelihood."""

from __future__ import annotations

from typing import ClassVar

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.priors.base import Prior


class Flat(Prior):
    """A constant density. The Pyro site stands under `poutine.mask(mask=False)`, so its term is exactly zero."""

    proper: ClassVar[bool] = False

    def distribution(self, center: Tensor) -> Distribution:
        """Return an improper uniform over reals with the shape of `center` as event shape."""
        return dist.ImproperUniform(dist.constraints.real, (), center.shape)  # type: ignore[no-any-return]


PRIOR = Flat
