"""Full covariance: one Cholesky factor for each layer. O(d^2) numbers, so for small factors such as a core C."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.distributions import constraints

from bayespeft.gaussians.base import PackedGaussian, check_shape
from bayespeft.gaussians.triangular import multiply, solve


class Full(PackedGaussian):
    """N(vec loc, L L^T) for each layer; vec goes row by row, as `reshape` does.

    Args:
        loc: means (layers, *shape), d numbers a layer.
        scale_tril: L (layers, d, d), lower triangular with a positive diagonal.

    Raises:
        GuideError: the shapes don't fit together.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real,
        "scale_tril": constraints.lower_cholesky,
    }

    def __init__(self, loc: Tensor, scale_tril: Tensor) -> None:
        size = loc.shape[1:].numel()
        check_shape("scale_tril", scale_tril, (len(loc), size, size))
        self.scale_tril = scale_tril
        super().__init__(loc)

    @property
    def width(self) -> int:
        """d."""
        return self.size

    def sqrt_matvec(self, noise: Tensor) -> Tensor:
        """Return L eps."""
        return self._shaped(multiply(self.scale_tril, noise))

    def sqrt_rmatvec(self, gradient: Tensor) -> Tensor:
        """Return L^T g."""
        return multiply(self.scale_tril.mT, self._flat(gradient))

    @property
    def marginal_variance(self) -> Tensor:
        """Sums of squares of L's rows."""
        return self._shaped(self.scale_tril.square().sum(-1))

    @property
    def log_scale(self) -> Tensor:
        """Ln of L's diagonal."""
        return self._shaped(self.scale_tril.diagonal(dim1=-2, dim2=-1).log())

    def squared_distance(self, deviation: Tensor) -> Tensor:
        """Return |L^-1 x|^2."""
        return solve(self.scale_tril, self._flat(deviation)).square().sum(-1)
