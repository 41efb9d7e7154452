"""Diagonal plus low rank: Sigma = diag(std^2) + F F^T, by the k x k capacitance C = I + F^T diag(std^-2) F alone.

ln|Sigma| = sum ln std^2 + ln|C| (matrix-determinant lemma); x^T Sigma^-1 x = |(x - F z) / std|^2 + |z|^2 with
z = C^-1 F^T diag(std^-2) x, which is Woodbury's identity as a sum of squares: nothing cancels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from bayespeft.gaussians.base import PackedGaussian, check_shape
from bayespeft.gaussians.triangular import multiply


class LowRank(PackedGaussian):
    """N(vec loc, diag(std^2) + F F^T) for each layer; no d x d matrix is ever made.

    Args:
        loc: means (layers, *shape), d numbers a layer.
        std: (layers, *shape), positive.
        factor: F (layers, d, k).

    Raises:
        GuideError: the shapes don't fit together.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real,
        "std": constraints.positive,
        "factor": constraints.real,
    }

    def __init__(self, loc: Tensor, std: Tensor, factor: Tensor) -> None:
        check_shape("std", std, loc.shape)
        check_shape("factor", factor, (len(loc), loc.shape[1:].numel(), factor.shape[-1]))
        self.std, self.factor = std, factor
        super().__init__(loc)
        self._whitened_factor = factor / self._flat(std).unsqueeze(-1)
        capacitance = self._whitened_factor.mT @ self._whitened_factor
        identity = torch.eye(capacitance.shape[-1], dtype=loc.dtype, device=loc.device)
        self._capacitance_tril = torch.linalg.cholesky(capacitance + identity)

    @property
    def width(self) -> int:
        """d + k: d for the diagonal, k for the factor."""
        return self.size + self.factor.shape[-1]

    def sqrt_matvec(self, noise: Tensor) -> Tensor:
        """Return std * eps_1 + F eps_2; eps_1 are the first d standard normals."""
        own, common = self._shaped(noise[..., : self.size]), noise[..., self.size :]
        return self.std * own + self._shaped(multiply(self.factor, common))

    def sqrt_rmatvec(self, gradient: Tensor) -> Tensor:
        """Return (std * g, F^T g)."""
        return torch.cat([self._flat(self.std * gradient), multiply(self.factor.mT, self._flat(gradient))], dim=-1)

    @property
    def marginal_variance(self) -> Tensor:
        """std^2 + sums of squares of F's rows."""
        return self.std.square() + self._shaped(self.factor.square().sum(-1))

    @property
    def log_scale(self) -> Tensor:
        """Ln std, plus 1/2 ln|C| in equal shares."""
        common = self._capacitance_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True) / self.size
        return torch.log(self.std) + self._shaped(common.expand(-1, self.size))

    def squared_distance(self, deviation: Tensor) -> Tensor:
        """Return |(x - F z) / std|^2 + |z|^2."""
        whitened = self._flat(deviation / self.std)
        inverse = torch.cholesky_inverse(self._capacitance_tril)
        common = multiply(inverse, multiply(self._whitened_factor.mT, whitened))
        own = whitened - multiply(self._whitened_factor, common)
        return own.square().sum(-1) + common.square().sum(-1)
