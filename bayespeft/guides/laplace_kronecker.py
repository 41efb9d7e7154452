"""Kronecker Laplace: the curvature of each layer's factor is U kron V over its rows and columns, layers are independent.

With G the columns of a root of the Gauss-Newton matrix as matrices (r1 x r2), U = sum G G^T and V = sum G^T G / tr U: one
step, from the identity, of the power iteration for the nearest Kronecker product, as in Shampoo (Morwani et al. 2024,
arXiv 2406.17748). The trace is that of the exact block; a block that is a Kronecker product, as that of any vector, comes
out exactly. The posterior covariance (U kron V + tau I)^-1 is kept in the eigenbasis (Ritter et al. 2018, A scalable
Laplace approximation for neural networks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from bayespeft.gaussians import Rotated
from bayespeft.gaussians.matrix_normal import as_matrix
from bayespeft.gaussians.outer import OuterCurvature
from bayespeft.guides.base import Covers, Values
from bayespeft.guides.laplace import BYTES, LaplaceGuide, LaplaceSpec
from bayespeft.layers.factors import StackedFactor


class LaplaceKroneckerGuide(LaplaceGuide):
    """A Gaussian in a Kronecker eigenbasis for each layer of each stack; a vector is a matrix of one column."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: LaplaceKronecker) -> None:
        super().__init__(stacks, spec)
        for stack in stacks:
            layers, sizes = len(stack.init), as_matrix(stack.init.shape[1:])
            for side, n in zip(("rows", "columns"), sizes, strict=True):
                self.register_buffer(f"{side}_{stack.name}", torch.eye(n).repeat(layers, 1, 1))
            self.register_buffer(f"curvature_{stack.name}", torch.zeros(layers, *sizes))

    def family(self, name: str) -> Rotated:
        """N(mean, (U kron V + tau I)^-1) of a stack."""
        std = self.scale(self.get_buffer(f"curvature_{name}"))
        return Rotated(self.loc[name], std, self.get_buffer(f"rows_{name}"), self.get_buffer(f"columns_{name}"))

    def totals(self) -> Values:
        """Return zeros for U and V of every layer."""
        return {
            f"{side}_{name}": torch.zeros_like(self.get_buffer(f"{side}_{name}"), dtype=torch.double)
            for name in self.loc
            for side in ("rows", "columns")
        }

    def add(self, totals: Values, roots: Mapping[str, Tensor | OuterCurvature]) -> None:
        """Add G G^T and G^T G, which are the partial traces of the block."""
        for name, root in roots.items():
            if isinstance(root, OuterCurvature):
                for side, trace in zip(("rows", "columns"), root.partial_traces(), strict=True):
                    totals[f"{side}_{name}"] += trace.double()
                continue
            layers, r1, r2 = self.get_buffer(f"curvature_{name}").shape
            matrices = root.movedim(2, 0).reshape(layers, -1, r1, r2)
            wide = matrices.transpose(1, 2).reshape(layers, r1, -1)
            tall = matrices.reshape(layers, -1, r2)
            totals[f"rows_{name}"] += (wide @ wide.mT).double()
            totals[f"columns_{name}"] += (tall.mT @ tall).double()

    def keep(self, totals: Values) -> Tensor:
        """Keep eigenvectors of U and V, and the eigenvalues of U kron V, for each layer."""
        eigenvalues = []
        for name in self.loc:
            sides = []
            for side in ("rows", "columns"):
                values, vectors = torch.linalg.eigh(totals[f"{side}_{name}"])
                self.get_buffer(f"{side}_{name}").copy_(vectors)
                sides.append(values.clamp_min(0))
            rows, columns = sides
            # tr U = tr V = the trace of the exact block; 0 where the data never reach the layer.
            columns = columns / columns.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.double).tiny)
            product = rows.unsqueeze(-1) * columns.unsqueeze(-2)
            self.get_buffer(f"curvature_{name}").copy_(product)
            eigenvalues.append(product.flatten())
        return torch.cat(eigenvalues)


class LaplaceKronecker(LaplaceSpec):
    """Kronecker Laplace over every trained factor: adapters and heads."""

    covers: ClassVar[Covers] = "trained"
    remedy: ClassVar[str] = (
        "Use guide 'laplace_diagonal', or a Laplace approximation over the r x r cores alone (method 'laplace_core')."
    )

    def memory(self, stacks: Sequence[StackedFactor]) -> Mapping[str, int]:
        """Return the bytes of a matrix over rows and one over columns for each layer."""
        return {p.name: BYTES * len(p.init) * sum(n * n for n in as_matrix(p.init.shape[1:])) for p in stacks}

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> LaplaceKroneckerGuide:
        """Start at the factors' initial values, with no curvature: the prior's width."""
        return LaplaceKroneckerGuide(stacks, self)


GUIDE = LaplaceKronecker
