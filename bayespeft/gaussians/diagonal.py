"""Diagonal covariance: every element on its own."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints

from bayespeft.gaussians.base import PackedGaussian, check_shape
from bayespeft.gaussians.outer import OuterJacobian


class Diagonal(PackedGaussian):
    """N(loc, diag(std^2)).

    Args:
        loc: means (layers, *shape).
        std: standard deviations (layers, *shape), positive.

    Raises:
        GuideError: the shapes differ.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real,
        "std": constraints.positive,
    }

    def __init__(self, loc: Tensor, std: Tensor) -> None:
        check_shape("std", std, loc.shape)
        self.std = std
        super().__init__(loc)

    @property
    def width(self) -> int:
        """d."""
        return self.size

    def sqrt_matvec(self, noise: Tensor) -> Tensor:
        """Return std * eps."""
        return self.std * self._shaped(noise)

    def sqrt_rmatvec(self, gradient: Tensor) -> Tensor:
        """Return std * g."""
        return self._flat(self.std * gradient)

    def _outer_covariance(self, jacobian: OuterJacobian) -> Tensor:
        """Var y_k = sum_j std_kj^2 x_j^2, independent over k."""
        variance = self.std.square().reshape(len(self.std[0]), -1)
        return jacobian.covariance(jacobian.right.square() @ variance.mT)

    @property
    def marginal_variance(self) -> Tensor:
        """std^2."""
        return self.std.square()

    @property
    def log_scale(self) -> Tensor:
        """Ln std."""
        return torch.log(self.std)

    def squared_distance(self, deviation: Tensor) -> Tensor:
        """Return sum (x / std)^2."""
        return self._flat(deviation / self.std).square().sum(-1)
