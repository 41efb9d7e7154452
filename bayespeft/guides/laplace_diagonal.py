"""Diagonal Laplace: every trained number has its own curvature h_i and the posterior variance 1 / (h_i + tau).

The exact diagonal of the Gauss-Newton matrix (not that of a Kronecker approximation). MacKay 1992, Neural Computation 4(3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from bayespeft.gaussians import Diagonal
from bayespeft.gaussians.outer import OuterCurvature
from bayespeft.guides.base import Covers, Values
from bayespeft.guides.laplace import LaplaceGuide, LaplaceSpec
from bayespeft.layers.factors import StackedFactor


class LaplaceDiagonalGuide(LaplaceGuide):
    """Independent normals around the point."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: LaplaceDiagonal) -> None:
        super().__init__(stacks, spec)
        for stack in stacks:
            self.register_buffer(f"curvature_{stack.name}", torch.zeros(stack.init.shape))

    def family(self, name: str) -> Diagonal:
        """N(mean, 1 / (h + tau)) of a stack."""
        return Diagonal(self.loc[name], self.scale(self.get_buffer(f"curvature_{name}")))

    def totals(self) -> Values:
        """Return zeros in the shape of each stack."""
        return {name: torch.zeros_like(loc, dtype=torch.double) for name, loc in self.loc.items()}

    def add(self, totals: Values, roots: Mapping[str, Tensor | OuterCurvature]) -> None:
        """Add squares of the roots."""
        for name, root in roots.items():
            total = totals[name]
            squares = root.square().sum((0, 1)) if isinstance(root, Tensor) else root.diagonal().reshape(total.shape)
            total += squares.double()

    def keep(self, totals: Values) -> Tensor:
        """Keep the diagonal, which is its own eigenvalues."""
        for name, total in totals.items():
            self.get_buffer(f"curvature_{name}").copy_(total)
        return torch.cat([total.flatten() for total in totals.values()])


class LaplaceDiagonal(LaplaceSpec):
    """Diagonal Laplace over every trained factor: adapters and heads."""

    symmetric: ClassVar[bool] = True
    covers: ClassVar[Covers] = "trained"

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> LaplaceDiagonalGuide:
        """Start at the factors' initial values, with no curvature: the prior's width."""
        return LaplaceDiagonalGuide(stacks, self)


GUIDE = LaplaceDiagonal
