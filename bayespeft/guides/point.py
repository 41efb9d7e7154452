"""Point: q is a Delta. Under a flat prior the fit is maximum likelihood, under a normal prior it is MAP.

Pyro registers KL(Delta(v) || p) = -log p(v), so a point estimate is the same objective as any other guide's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.guides.base import Guide, GuideSpec, parameters_of
from bayespeft.layers.factors import StackedFactor


class PointGuide(Guide):
    """One value per factor."""

    def __init__(self, stacks: Sequence[StackedFactor]) -> None:
        super().__init__(stacks)
        self.value = parameters_of(stacks)

    def q(self) -> dict[str, Distribution]:
        """Delta at each value (layers, ...)."""
        return {name: dist.Delta(value, event_dim=value.dim()) for name, value in self.value.items()}

    def mean(self) -> dict[str, Tensor]:
        """Return the values themselves (layers, ...)."""
        return dict(self.value.items())

    @torch.no_grad()
    def restart(self, name: str, means: Tensor, variance: Tensor | None) -> None:
        """Set the values."""
        self.value[name].copy_(means)

    @property
    def noise_size(self) -> int:
        """Nothing is random."""
        return 0

    def transform(self, noise: Tensor) -> dict[str, Tensor]:
        """Return the values, n times over (a view): (n, layers, ...)."""
        return {name: value.expand(len(noise), *value.shape) for name, value in self.value.items()}


class Point(GuideSpec):
    """A point estimate of every factor."""

    stochastic: ClassVar[bool] = False
    restarts: ClassVar[bool] = True

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> PointGuide:
        """Start at the factors' initial values."""
        return PointGuide(stacks)


GUIDE = Point
