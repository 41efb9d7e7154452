"""What every prior offers: a distribution around a factor's center."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.distributions import Distribution

from bayespeft.config import Plugin


class Prior(Plugin, ABC):
    """Belief about a factor before the data.

    `proper` is False for a prior without a density (flat): its term is masked out of the ELBO.
    """

    room: ClassVar[str] = "priors"
    proper: ClassVar[bool] = True

    @abstractmethod
    def distribution(self, center: Tensor) -> Distribution:
        """Return the prior of a pack of factors; every dimension of `center` (layers, ...) is an event dimension."""
