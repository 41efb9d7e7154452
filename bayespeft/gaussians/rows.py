"""Rows: one Cholesky factor for each row of each matrix, rows independent. m n^2 numbers for m rows of n."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from bayespeft.gaussians.base import PackedGaussian, check_shape
from bayespeft.gaussians.outer import OuterJacobian
from bayespeft.gaussians.triangular import multiply, solve


class Rows(PackedGaussian):
    """N(row, L L^T) for each row, along the last dimension.

    Args:
        loc: means (layers, ..., n); a scalar for each layer is a row of one.
        scale_tril: L (layers, ..., n, n), lower triangular with a positive diagonal.

    Raises:
        GuideError: the shapes don't fit together.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real,
        "scale_tril": constraints.lower_cholesky,
    }

    def __init__(self, loc: Tensor, scale_tril: Tensor) -> None:
        own = loc.shape if loc.dim() > 1 else (*loc.shape, 1)
        check_shape("scale_tril", scale_tril, (*own, own[-1]))
        self.scale_tril = scale_tril
        super().__init__(loc)

    @property
    def width(self) -> int:
        """The numbers of a layer."""
        return self.size

    @property
    def _matrices(self) -> Tensor:
        """(rows of all layers, n, n)."""
        return self.scale_tril.reshape(-1, *self.scale_tril.shape[-2:])

    def _apart(self, value: Tensor, events: int) -> Tensor:
        """(..., layers, ...) with so many dimensions of a draw at the end -> (..., rows of all layers, n)."""
        return value.reshape(*value.shape[: value.dim() - events], -1, self.scale_tril.shape[-1])

    def sqrt_matvec(self, noise: Tensor) -> Tensor:
        """Return L eps of each row."""
        moved = multiply(self._matrices, self._apart(noise, 2))
        return moved.reshape(*noise.shape[:-2], *self.loc.shape)

    def sqrt_rmatvec(self, gradient: Tensor) -> Tensor:
        """Return L^T g of each row."""
        moved = multiply(self._matrices.mT, self._apart(gradient, self.loc.dim()))
        return moved.reshape(*gradient.shape[: gradient.dim() - self.loc.dim()], len(self.loc), self.size)

    def _outer_covariance(self, jacobian: OuterJacobian) -> Tensor:
        """Var y_k = |L_k^T x|^2 for row k, independent over k; a vector is one row."""
        if len(jacobian.shape) < 2:
            root = self.scale_tril[0]
            return jacobian.between(root @ root.mT).expand(len(jacobian.right), -1, -1)
        moved = torch.einsum("ij,mjk->imk", jacobian.right, self.scale_tril[0])
        return jacobian.covariance(moved.square().sum(-1))

    @property
    def marginal_variance(self) -> Tensor:
        """Sums of squares of the rows of L."""
        return self.scale_tril.square().sum(-1).reshape(self.loc.shape)

    @property
    def log_scale(self) -> Tensor:
        """Ln of the diagonals of L."""
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().reshape(self.loc.shape)

    def squared_distance(self, deviation: Tensor) -> Tensor:
        """Return the sum over a layer's rows of |L^-1 x|^2."""
        squares = solve(self._matrices, self._apart(deviation, self.loc.dim())).square().sum(-1)
        return squares.reshape(*deviation.shape[: deviation.dim() - self.loc.dim()], len(self.loc), -1).sum(-1)
