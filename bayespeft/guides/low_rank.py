"""Low rank: q(w) = N(mean, D (I + R R^T) D), D = diag(std): a diagonal plus k common directions for each layer.

The family of Ong et al. 2018 (Gaussian variational approximation with a factor covariance structure, JCGS 27(3), arXiv
1701.03208), and of SLANG (Mishkin et al. 2018, arXiv 1811.04504) with a factor on the covariance, not the precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import nn

from bayespeft import gaussians
from bayespeft.guides.gaussian import GaussianGuide, GaussianSpec
from bayespeft.layers.factors import StackedFactor

# R's elements start with this spread: at R = 0 the gradient of R is zero in expectation too, so it must not start there.
_INIT_FACTOR = 0.3


class LowRankGuide(GaussianGuide):
    """Diagonal plus low rank for each layer of each stack; the factor F = D R is kept in units of std."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: LowRank, generator: torch.Generator) -> None:
        super().__init__(stacks)
        self.raw, self.factor = nn.ParameterDict(), nn.ParameterDict()
        for stack in stacks:
            layers, size = len(stack.init), stack.init[0].numel()
            factor = torch.randn(layers, size, spec.rank, generator=generator)
            self.raw[stack.name] = nn.Parameter(spec.log_std(stack.init.shape, generator))
            self.factor[stack.name] = nn.Parameter(_INIT_FACTOR * spec.rank**-0.5 * factor)

    def family(self, name: str) -> gaussians.LowRank:
        """N(mean, D (I + R R^T) D) of a stack."""
        std = self.raw[name].exp()
        return gaussians.LowRank(self.loc[name], std, std.flatten(1).unsqueeze(-1) * self.factor[name])


class LowRank(GaussianSpec):
    """Diagonal plus low-rank covariance for each layer.

    Attributes:
        init_std: the diagonal's standard deviations start uniformly between these two in the unconstrained parameter.
        rank: k, common directions in a layer.
    """

    rank: int = Field(default=4, ge=1)

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> LowRankGuide:
        """Means start at the factors' initial values, common directions small and random."""
        return LowRankGuide(stacks, self, generator)


GUIDE = LowRank
