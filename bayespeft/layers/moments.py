"""A Gaussian weight that is not drawn: it gives mean and variance of what it would do to an input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bayespeft.errors import GuideError
from bayespeft.layers.weights import Weight


@dataclass(frozen=True, slots=True)
class GaussianWeight(Weight):
    """A matrix (out, in) whose rows are independent Gaussians, or a vector (out,) of independent normals.

    Outputs are means and variances side by side, (..., 2 out), so that whatever picks positions behind it picks both.

    Attributes:
        mean: (out, in), or (out,).
        root: L of each row's covariance L L^T, (out, in, in); or standard deviations, in the shape of the mean.
    """

    mean: Tensor
    root: Tensor

    def linear(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., 2 out): mean W x, and x^T L L^T x for each row."""
        with torch.autocast(x.device.type, enabled=False):
            x, mean, root = (value.float() for value in (x, self.mean, self.root))
            if root.dim() == 3:
                variance = torch.einsum("...i,oij->...oj", x, root).square().sum(-1)
            else:
                variance = F.linear(x.square(), root.square())
            return torch.cat([F.linear(x, mean), variance], -1)

    def add(self, y: Tensor) -> Tensor:
        """y (..., 2 out) -> (..., 2 out): its mean and its variance are added to those of y."""
        if self.mean.dim() != 1:
            raise GuideError(f"a matrix of shape {tuple(self.mean.shape)} can't act as a bias")
        return y + torch.cat([self.mean, self.root.square()]).to(y)

    def mul(self, x: Tensor) -> Tensor:
        """Refuse: what multiplies elements is no last layer."""
        raise GuideError("mean and variance are known behind a linear layer, not behind a factor of its elements")

    def _minus(self, fixed: Tensor) -> GaussianWeight:
        return replace(self, mean=self.mean - fixed.to(self.mean))
