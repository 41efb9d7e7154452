"""Matrix normal: W = M + L_U E L_V^T, so Sigma = U kron V over rows and columns (vec row by row).

r1^2 + r2^2 numbers say what a full covariance says with (r1 r2)^2. A diagonal Gaussian is matrix normal if and only if
its variances, as a matrix, have rank 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from bayespeft.gaussians.base import PackedGaussian, check_shape
from bayespeft.gaussians.outer import OuterJacobian
from bayespeft.gaussians.triangular import multiply, solve


def as_matrix(shape: torch.Size) -> tuple[int, int]:
    """Return the rows and columns that a layer's shape is read as.

    A vector is one column; of more than two dimensions all but the last make the rows.
    """
    if len(shape) < 2:
        return shape.numel(), 1
    return shape[:-1].numel(), shape[-1]


class MatrixNormal(PackedGaussian):
    """MN(loc, U, V) for each layer: U = L_U L_U^T between rows, V = L_V L_V^T between columns.

    Args:
        loc: means (layers, *shape), read as matrices r1 x r2 (see `as_matrix`).
        row_tril: L_U (layers, r1, r1), lower triangular with a positive diagonal.
        column_tril: L_V (layers, r2, r2), likewise.

    Raises:
        GuideError: the shapes don't fit together.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real,
        "row_tril": constraints.lower_cholesky,
        "column_tril": constraints.lower_cholesky,
    }

    def __init__(self, loc: Tensor, row_tril: Tensor, column_tril: Tensor) -> None:
        self.rows, self.columns = as_matrix(loc.shape[1:])
        check_shape("row_tril", row_tril, (len(loc), self.rows, self.rows))
        check_shape("column_tril", column_tril, (len(loc), self.columns, self.columns))
        self.row_tril, self.column_tril = row_tril, column_tril
        super().__init__(loc)

    @property
    def width(self) -> int:
        """r1 r2."""
        return self.size

    def sqrt_matvec(self, noise: Tensor) -> Tensor:
        """Return L_U E L_V^T."""
        return self._shaped(self._both(multiply, self.row_tril, self.column_tril, noise))

    def sqrt_rmatvec(self, gradient: Tensor) -> Tensor:
        """Return L_U^T G L_V."""
        return self._both(multiply, self.row_tril.mT, self.column_tril.mT, self._flat(gradient))

    def _outer_covariance(self, jacobian: OuterJacobian) -> Tensor:
        """(x^T V x) U."""
        scale = (jacobian.right @ self.column_tril[0]).square().sum(-1)
        return scale[:, None, None] * jacobian.between(self.row_tril[0] @ self.row_tril[0].mT)

    @property
    def marginal_variance(self) -> Tensor:
        """U_ii V_jj."""
        rows, columns = self.row_tril.square().sum(-1), self.column_tril.square().sum(-1)
        return (rows.unsqueeze(-1) * columns.unsqueeze(-2)).reshape(self.loc.shape)

    @property
    def log_scale(self) -> Tensor:
        """Ln (L_U)_ii + ln (L_V)_jj."""
        rows, columns = (tril.diagonal(dim1=-2, dim2=-1).log() for tril in (self.row_tril, self.column_tril))
        return (rows.unsqueeze(-1) + columns.unsqueeze(-2)).reshape(self.loc.shape)

    def squared_distance(self, deviation: Tensor) -> Tensor:
        """Return |L_U^-1 X L_V^-T|^2."""
        return self._both(solve, self.row_tril, self.column_tril, self._flat(deviation)).square().sum(-1)

    def _both(self, act: Callable[[Tensor, Tensor], Tensor], rows: Tensor, columns: Tensor, value: Tensor) -> Tensor:
        """Let `rows` act on the columns of X and `columns` on its rows; X and the result flat, (..., layers, r1 r2)."""
        matrix = value.reshape(*value.shape[:-1], self.rows, self.columns)
        matrix = act(rows, matrix.movedim(-1, 0)).movedim(0, -1)
        matrix = act(columns, matrix.movedim(-2, 0)).movedim(0, -2)
        return matrix.reshape(value.shape)
