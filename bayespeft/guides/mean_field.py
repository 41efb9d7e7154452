"""Mean field: q(w) = N(mean, std^2), every element on its own.

With std = G^2 it is BLoB's family (Wang et al. 2024, arXiv 2406.11675, eq. 5): dKL/dG = -2/G + 2 G^3 / sp^2, stationary
at std = sp. With std = exp(g), a step of the optimiser changes std by a factor, whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bayespeft.gaussians import Diagonal
from bayespeft.guides.gaussian import GaussianGuide, GaussianSpec
from bayespeft.layers.factors import StackedFactor

_TO_STD = {"square": torch.square, "exp": torch.exp}
_FROM_STD = {"square": torch.sqrt, "exp": torch.log}


class MeanFieldGuide(GaussianGuide):
    """Independent normals over stacks."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: MeanField, generator: torch.Generator) -> None:
        super().__init__(stacks)
        self._to_std = _TO_STD[spec.std]
        self._from_std = _FROM_STD[spec.std]
        self._initial_variance = spec.init_std[0] * spec.init_std[1]
        low, high = (float(self._from_std(torch.tensor(std))) for std in spec.init_std)
        self.raw = nn.ParameterDict(
            {
                stack.name: nn.Parameter(torch.empty(stack.init.shape).uniform_(low, high, generator=generator))
                for stack in stacks
            }
        )

    def variance(self, name: str) -> tuple[Tensor, float]:
        """Return a stack's variances (layers, ...), and the geometric mean of those that a fit starts with."""
        return self.family(name).marginal_variance, self._initial_variance

    @torch.no_grad()
    def restart(self, name: str, means: Tensor, variance: Tensor | None) -> None:
        """Set the means, and the standard deviations by way of the variances."""
        assert variance is not None
        self.loc[name].copy_(means)
        self.raw[name].copy_(self._from_std(variance.sqrt()))

    def family(self, name: str) -> Diagonal:
        """Normal(mean, std) of a stack."""
        return Diagonal(self.loc[name], self._to_std(self.raw[name]))


class MeanField(GaussianSpec):
    """Independent normals.

    Attributes:
        init_std: standard deviations start uniformly between these two in the unconstrained parameter.
        std: "square" (std = G^2, as BLoB) or "exp" (std = exp(g)).
    """

    restarts: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    std: Literal["square", "exp"] = "exp"

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> MeanFieldGuide:
        """Means start at the factors' initial values."""
        return MeanFieldGuide(stacks, self, generator)


GUIDE = MeanField
