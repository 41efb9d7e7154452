"""Kronecker eigenbasis: Sigma = (Q_U kron Q_V) diag(std^2) (Q_U kron Q_V)^T over rows and columns (vec row by row).

The inverse of U kron V + tau I is of this form, and no matrix normal: std^2 = 1 / (u_i v_j + tau) in the eigenbasis
(Martens & Grosse 2015, arXiv 1503.05671, section 6.3; Ritter et al. 2018). Free std is the family of EKFAC (arXiv 1806.03884).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from bayespeft.gaussians.base import PackedGaussian, check_shape
from bayespeft.gaussians.matrix_normal import as_matrix
from bayespeft.gaussians.outer import OuterJacobian


class Rotated(PackedGaussian):
    """W = M + Q_U (std * E) Q_V^T for each layer.

    Args:
        loc: means (layers, *shape), read as matrices r1 x r2 (see `as_matrix`).
        std: standard deviations along the eigenvectors (layers, r1, r2), positive.
        rows: Q_U (layers, r1, r1), orthogonal; its columns are the eigenvectors.
        columns: Q_V (layers, r2, r2), likewise.

    Raises:
        GuideError: the shapes don't fit together.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real,
        "std": constraints.positive,
        "rows": constraints.real,
        "columns": constraints.real,
    }

    def __init__(self, loc: Tensor, std: Tensor, rows: Tensor, columns: Tensor) -> None:
        r1, r2 = as_matrix(loc.shape[1:])
        check_shape("std", std, (len(loc), r1, r2))
        check_shape("rows", rows, (len(loc), r1, r1))
        check_shape("columns", columns, (len(loc), r2, r2))
        self.std, self.rows, self.columns = std, rows, columns
        super().__init__(loc)

    @property
    def width(self) -> int:
        """r1 r2."""
        return self.size

    def sqrt_matvec(self, noise: Tensor) -> Tensor:
        """Return Q_U (std * E) Q_V^T."""
        return self._shaped(self._between(self.rows, self.std * self._matrices(noise), self.columns.mT).flatten(-2))

    def sqrt_rmatvec(self, gradient: Tensor) -> Tensor:
        """Return std * (Q_U^T G Q_V)."""
        return (self.std * self._turned(gradient)).flatten(-2)

    def _outer_covariance(self, jacobian: OuterJacobian) -> Tensor:
        """Q_U diag(v) Q_U^T with v = std^2 (Q_V^T x)^2: in the eigenbasis elements are independent."""
        turned = jacobian.turned(self.rows[0], self.columns[0])
        return turned.covariance(turned.right.square() @ self.std[0].square().mT)

    @property
    def marginal_variance(self) -> Tensor:
        """Q_U^2 std^2 (Q_V^2)^T, squares element by element."""
        return (self.rows.square() @ self.std.square() @ self.columns.mT.square()).reshape(self.loc.shape)

    @property
    def log_scale(self) -> Tensor:
        """Ln std, of directions rather than of elements."""
        return torch.log(self.std).reshape(self.loc.shape)

    def squared_distance(self, deviation: Tensor) -> Tensor:
        """Return |(Q_U^T X Q_V) / std|^2."""
        return (self._turned(deviation) / self.std).square().sum((-1, -2))

    def _turned(self, value: Tensor) -> Tensor:
        """(..., layers, *shape) to the eigenbasis, (..., layers, r1, r2)."""
        return self._between(self.rows.mT, self._matrices(self._flat(value)), self.columns)

    def _matrices(self, flat: Tensor) -> Tensor:
        return flat.reshape(*flat.shape[:-1], *self.std.shape[1:])

    @staticmethod
    def _between(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
        """Return left @ middle @ right; leading dimensions of `middle` never copy the others."""
        half = torch.einsum("lab,...lbc->...lac", left, middle)
        return torch.einsum("...lac,lcd->...lad", half, right)
