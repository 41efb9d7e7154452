"""Derivatives of outputs by a matrix that meets one vector of each example, and the curvature that follows, as their factors.

With y = W x, d output / d W = (d output / d y) x^T, and a Gauss-Newton matrix J^T L J = (d output / d y)^T L (d output / d y)
kron x x^T. An output layer's outputs are y itself. A bias is a matrix of one column, whose x is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class OuterJacobian:
    """Derivatives of C outputs by a stack of one layer, a matrix (m, n) or a vector (m,).

    Attributes:
        left: d output / d y, (rows, C, m); None: the outputs are y, so that C = m.
        right: x, (rows, n); n = 1 for a vector.
        shape: of the layer's weight: (m, n) or (m,).
    """

    left: Tensor | None
    right: Tensor
    shape: torch.Size

    def dense(self) -> Tensor:
        """Return (rows, C, 1, m, n), or (rows, C, 1, m)."""
        left = self._given_left()
        found = left.unsqueeze(-1) * self.right[:, None, None, :]
        return found.reshape(*left.shape[:2], 1, *self.shape)

    def covariance(self, variance: Tensor) -> Tensor:
        """Return J Sigma J^T, (rows, C, C), where the elements of y are independent, of variances (rows, m)."""
        if self.left is None:
            return torch.diag_embed(variance)
        return (self.left * variance.unsqueeze(-2)) @ self.left.mT

    def between(self, covariance: Tensor) -> Tensor:
        """Return left covariance left^T, (rows or 1, C, C), for a covariance (m, m) of y, up to each row's scale."""
        return covariance.unsqueeze(0) if self.left is None else self.left @ covariance @ self.left.mT

    def turned(self, rows: Tensor, columns: Tensor) -> OuterJacobian:
        """Return the derivatives in other coordinates, W = rows W' columns^T: orthogonal (m, m) and (n, n)."""
        left = rows.expand(len(self.right), -1, -1) if self.left is None else self.left @ rows
        return OuterJacobian(left, self.right @ columns, self.shape)

    def curvature(self, by_output: Tensor) -> OuterCurvature:
        """Return the Gauss-Newton matrix of each row.

        Args:
            by_output: the curvature L by the outputs, (rows, C, C).
        """
        middle = by_output if self.left is None else self.left.mT @ by_output @ self.left
        return OuterCurvature(middle, self.right)

    def _given_left(self) -> Tensor:
        if self.left is not None:
            return self.left
        return torch.eye(self.shape[0]).to(self.right).expand(len(self.right), -1, -1)


@dataclass(frozen=True, slots=True)
class FeatureJacobian:
    """Derivatives of outputs y = W x + b by a stack that moves x alone, of which there are fewer than outputs.

    Attributes:
        by_feature: d x / d stack, (rows, n, layers, ...).
        weight: W, (K, n).
    """

    by_feature: Tensor
    weight: Tensor

    def dense(self) -> Tensor:
        """Return (rows, K, layers, ...)."""
        return torch.einsum("kf,nf...->nk...", self.weight, self.by_feature)

    def outer(self, covariance: Tensor) -> Tensor:
        """Return the covariance of the outputs, (rows, K, K), for one of the features (rows, n, n)."""
        return self.weight @ covariance @ self.weight.mT

    def root(self, by_output: Tensor) -> Tensor:
        """Return n columns of a root of each row's Gauss-Newton matrix, (rows, n, layers, ...).

        Args:
            by_output: the curvature by the outputs, (rows, K, K).
        """
        middle = (self.weight.mT @ (by_output @ self.weight)).double()
        # Eigenvectors of what is not finite are an error of another kind than the caller's: it stays not finite.
        finite = middle.isfinite().all(-1).all(-1)[:, None, None]
        values, vectors = torch.linalg.eigh(middle.where(finite, torch.zeros_like(middle)))
        columns = (vectors * values.clamp_min(0).sqrt().unsqueeze(-2)).to(self.by_feature)
        columns = columns.where(finite, torch.full_like(columns, torch.nan))
        return torch.einsum("nfc,nf...->nc...", columns, self.by_feature)


# d outputs / d stack: (rows, outputs, layers, ...), or the factors that it is a product of.
StackJacobian = Tensor | OuterJacobian | FeatureJacobian


@dataclass(frozen=True, slots=True)
class OuterCurvature:
    """Gauss-Newton matrices of some rows by a matrix (m, n): middle kron x x^T.

    Attributes:
        middle: (rows, m, m), symmetric.
        right: x, (rows, n).
    """

    middle: Tensor
    right: Tensor

    def diagonal(self) -> Tensor:
        """Return the sum over rows of the diagonals, (m, n)."""
        return self.middle.diagonal(dim1=-2, dim2=-1).mT @ self.right.square()

    def partial_traces(self) -> tuple[Tensor, Tensor]:
        """Return the sums over rows of the traces over columns, (m, m), and over rows of the matrix, (n, n)."""
        rows = torch.einsum("i,iab->ab", self.right.square().sum(-1), self.middle)
        traces = self.middle.diagonal(dim1=-2, dim2=-1).sum(-1)
        return rows, (self.right * traces.unsqueeze(-1)).mT @ self.right
