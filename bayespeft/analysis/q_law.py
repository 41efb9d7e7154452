"""The law of Q = C A under a diagonal q(C), beside the one that the Me-LoRA paper prints.

C_ij ~ N(M_ij, Omega_ij^2) makes the rows of Q independent, row i ~ N((M A)_i, A^T diag(Omega_i^2) A), of rank r at most. The
paper prints "Sigma |A|", standard deviations Omega |A|: a sum of standard deviations is no less than the standard deviation
of the sum, so it over-states every one of them, and it drops the correlation between columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bayespeft.errors import GuideError


@dataclass(frozen=True)
class QLaw:
    """A Gaussian with independent rows.

    Attributes:
        mean: M A (r, n).
        core_std: Omega (r, r).
        a: A (r, n).
    """

    mean: Tensor
    core_std: Tensor
    a: Tensor

    @property
    def std(self) -> Tensor:
        """Marginal standard deviations of Q, sqrt(Omega^2 A^2) with element-wise squares: (r, n)."""
        return (self.core_std.square() @ self.a.square()).sqrt()

    def row_covariance(self, row: int) -> Tensor:
        """Return A^T diag(Omega_row^2) A, (n, n)."""
        scaled = self.core_std[row][:, None] * self.a
        return scaled.mT @ scaled

    @property
    def published_std(self) -> Tensor:
        """Marginal standard deviations as printed, Omega |A|: (r, n). Wrong, to be compared with."""
        return self.core_std @ self.a.abs()


def q_law(mean: Tensor, std: Tensor, a: Tensor) -> QLaw:
    """Return the law of Q = C A.

    Args:
        mean: M, of the core (r, r).
        std: Omega, the standard deviations of its elements (r, r), uncorrelated.
        a: A (r, n).

    Raises:
        GuideError: the shapes don't fit together, or a standard deviation is negative or not a number.
    """
    if mean.dim() != 2 or a.dim() != 2 or std.shape != mean.shape or mean.shape[1] != len(a):
        raise GuideError(
            f"Q = C A needs a mean and standard deviations of one shape (r, r) and A (r, n), not {tuple(mean.shape)}, "
            f"{tuple(std.shape)} and {tuple(a.shape)}."
        )
    if not (std >= 0).all():
        raise GuideError("standard deviations of the core must be 0 or more; pass std, not its logarithm.")
    return QLaw(mean @ a, std, a)
