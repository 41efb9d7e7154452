"""Full covariance: q(w) = N(mean, L L^T), one Cholesky factor for each layer.

The family of Opper & Archambeau 2009 (Neural Computation 21(3)), in the reparameterised form of Kingma & Welling 2014
(arXiv 1312.6114, section 2.4). d numbers a layer cost d^2 here: for a core of r = 8 (d = 64), not for LoRA's A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import nn

from bayespeft.gaussians import Full
from bayespeft.guides.gaussian import BYTES, GaussianGuide, GaussianSpec, scale_tril
from bayespeft.layers.factors import StackedFactor


class FullCovarianceGuide(GaussianGuide):
    """A multivariate normal for each layer of each stack."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: FullCovariance, generator: torch.Generator) -> None:
        super().__init__(stacks)
        self.raw = nn.ParameterDict()
        for stack in stacks:
            log_std = spec.log_std((len(stack.init), stack.init[0].numel()), generator)
            self.raw[stack.name] = nn.Parameter(torch.diag_embed(log_std))

    def family(self, name: str) -> Full:
        """N(mean, L L^T) of a stack."""
        return Full(self.loc[name], scale_tril(self.raw[name]))


class FullCovariance(GaussianSpec):
    """A multivariate normal for each layer; it starts without correlations.

    Attributes:
        init_std: standard deviations start uniformly between these two in the unconstrained parameter.
    """

    remedy: ClassVar[str] = (
        "Use guide 'matrix_normal' or 'low_rank', an adapter with fewer latent numbers a layer (core), or a smaller r."
    )

    def memory(self, stacks: Sequence[StackedFactor]) -> Mapping[str, int]:
        """Return the bytes of a covariance over a layer's elements."""
        return {stack.name: BYTES * len(stack.init) * stack.init[0].numel() ** 2 for stack in stacks}

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> FullCovarianceGuide:
        """Means start at the factors' initial values."""
        return FullCovarianceGuide(stacks, self, generator)


GUIDE = FullCovariance
