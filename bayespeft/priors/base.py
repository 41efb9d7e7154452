"""What every prior offers: a distribution around a factor's center, whose scale may be learned from q."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor
from torch.distributions import Distribution

from bayespeft.config import Plugin


class Prior(Plugin, ABC):
    """Belief about a factor before the data.

    Attributes:
        proper: it has a density; False for a flat prior, whose term is masked out of the ELBO.
        needs_spread: its learned scale would collapse onto a point estimate.
        closed_form: every Gaussian q has a KL to it in closed form, and that a formula is missing is an error. False: where
            none is registered, the KL is estimated by Monte Carlo (see `bayespeft.variational.kl`).
    """

    room: ClassVar[str] = "priors"
    proper: ClassVar[bool] = True
    needs_spread: ClassVar[bool] = False
    closed_form: ClassVar[bool] = True

    @abstractmethod
    def distribution(self, center: Tensor) -> Distribution:
        """Return the prior of a stack of factors; every dimension of `center` (layers, ...) is an event dimension."""

    def fitted(self, center: Tensor, q: Distribution) -> Distribution:
        """Return the prior with its hyper-parameters at their best for q; a fixed prior has none."""
        return self.distribution(center)

    def reported(self, center: Tensor, q: Distribution) -> tuple[Distribution, float]:
        """Return what the KL of q is reported against: a law p and a number c of nats, for KL(q || p) + c for each element.

        c is zero but for a prior that is drawn anew at each step: its KL is reported in expectation over these draws.
        """
        return self.fitted(center, q), 0.0
