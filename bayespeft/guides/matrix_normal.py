"""Matrix normal: q(W) = MN(M, U, V), covariance U between rows times covariance V between columns.

Louizos & Welling 2016 (Structured and efficient variational deep learning with matrix Gaussian posteriors, arXiv
1603.04733), who keep U and V diagonal: `factors="diagonal"`. U and V are known only up to a common factor (c U, V / c).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import nn

from bayespeft import gaussians
from bayespeft.gaussians.matrix_normal import as_matrix
from bayespeft.guides.gaussian import BYTES, GaussianGuide, GaussianSpec, scale_tril
from bayespeft.layers.factors import StackedFactor


class MatrixNormalGuide(GaussianGuide):
    """A matrix normal for each layer of each stack; a vector is a matrix of one column."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: MatrixNormal, generator: torch.Generator) -> None:
        self._dense = spec.factors == "dense"
        super().__init__(stacks)
        self.row, self.column = nn.ParameterDict(), nn.ParameterDict()
        for stack in stacks:
            for parameters, n in zip((self.row, self.column), as_matrix(stack.init.shape[1:]), strict=True):
                # Half of ln std each: an element's standard deviation is that of its row times that of its column.
                raw = spec.log_std((len(stack.init), n), generator) / 2
                parameters[stack.name] = nn.Parameter(torch.diag_embed(raw) if self._dense else raw)

    def family(self, name: str) -> gaussians.MatrixNormal | gaussians.Diagonal:
        """MN(M, U, V) of a stack; with diagonal U and V that is a diagonal Gaussian whose variances have rank 1."""
        loc, row, column = self.loc[name], self.row[name], self.column[name]
        if self._dense:
            return gaussians.MatrixNormal(loc, scale_tril(row), scale_tril(column))
        return gaussians.Diagonal(loc, (row.exp().unsqueeze(-1) * column.exp().unsqueeze(-2)).reshape(loc.shape))


class MatrixNormal(GaussianSpec):
    """A matrix normal for each layer; it starts without correlations.

    Attributes:
        init_std: an element's standard deviation starts between these two: the product of what its row and its column
            draw, each uniform in ln std.
        factors: of U and V: "dense", or "diagonal" as in the paper.
    """

    remedy: ClassVar[str] = (
        "Use factors='diagonal', guide 'low_rank', or an adapter with smaller latent matrices (core)."
    )
    factors: Literal["dense", "diagonal"] = "dense"

    @property
    def symmetric(self) -> bool:  # type: ignore[override]
        """Diagonal factors leave no correlations."""
        return self.factors == "diagonal"

    def memory(self, stacks: Sequence[StackedFactor]) -> Mapping[str, int]:
        """Return the bytes of the factors over rows and over columns of each layer."""
        power = 2 if self.factors == "dense" else 1
        return {p.name: BYTES * len(p.init) * sum(n**power for n in as_matrix(p.init.shape[1:])) for p in stacks}

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> MatrixNormalGuide:
        """Means start at the factors' initial values."""
        return MatrixNormalGuide(stacks, self, generator)


GUIDE = MatrixNormal
