"""What every Gaussian over a stack of layers offers: draws, density, and a closed-form KL to priors of independent elements.

The layers of a stack are independent; within a layer Sigma = S S^T. Against a prior N(m, diag(sp^2)) the KL needs only the
marginal variances and the determinant, so one formula serves every family:
KL = sum [ ln sp + (var + (mean - m)^2) / (2 sp^2) - 1/2 ] - 1/2 ln|Sigma|.
Against any other prior of independent elements p_i it is that of the marginals and the total correlation of q:
KL = sum [ KL(N(mean_i, var_i) || p_i) + 1/2 ln var_i ] - 1/2 ln|Sigma|,
so that a formula for one normal number, as torch.distributions registers them, is one for every family.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, constraints, kl_divergence, register_kl

from bayespeft.errors import GuideError
from bayespeft.gaussians.outer import FeatureJacobian, OuterJacobian, StackJacobian

_EMPTY = torch.Size()


class PackedGaussian(TorchDistribution, ABC):  # type: ignore[misc]
    """A Gaussian over a stack, event shape (layers, *shape). Parameters are never expanded; `expand` only notes a shape.

    Attributes:
        loc: mean (layers, *shape).
        layer_shape: of one layer, without the first dimension.
        size: numbers in one layer, d.
    """

    has_rsample = True
    loc: Tensor

    def __init__(self, loc: Tensor) -> None:
        self.loc = loc
        self.layer_shape = loc.shape[1:]
        self.size = self.layer_shape.numel()
        super().__init__(_EMPTY, loc.shape)

    @property
    @abstractmethod
    def width(self) -> int:
        """Standard normals that make one layer."""

    @abstractmethod
    def sqrt_matvec(self, noise: Tensor) -> Tensor:
        """Return the deviations S eps, (..., layers, *shape), of standard normals eps (..., layers, width)."""

    @abstractmethod
    def sqrt_rmatvec(self, gradient: Tensor) -> Tensor:
        """Return S^T g, (..., layers, width), of g (..., layers, *shape): the adjoint of `sqrt_matvec`."""

    def output_covariance(self, jacobian: StackJacobian) -> Tensor:
        """Return J Sigma J^T, the covariance of C outputs that are linear in the stack: (rows, C, C).

        Args:
            jacobian: J (rows, C, layers, *shape), or its factors.
        """
        if isinstance(jacobian, FeatureJacobian):
            return jacobian.outer(self.output_covariance(jacobian.by_feature))
        if isinstance(jacobian, OuterJacobian):
            return self._outer_covariance(jacobian)
        root = self.sqrt_rmatvec(jacobian).flatten(-2)
        return root @ root.mT

    def _outer_covariance(self, jacobian: OuterJacobian) -> Tensor:
        """Return it from the factors; families that know a shorter way than through J override this."""
        return self.output_covariance(jacobian.dense())

    @property
    @abstractmethod
    def marginal_variance(self) -> Tensor:
        """Diagonal of Sigma, (layers, *shape)."""

    @property
    @abstractmethod
    def log_scale(self) -> Tensor:
        """(layers, *shape), which sums over a layer to 1/2 ln|Sigma|: ln std for a diagonal Sigma.

        It comes by element so that the KL to a prior as wide as q adds zeros, rather than differences of large sums.
        """

    @abstractmethod
    def squared_distance(self, deviation: Tensor) -> Tensor:
        """Return x^T Sigma^-1 x of each layer, (..., layers), for x (..., layers, *shape)."""

    def kl_by_layer(self, loc: Tensor, scale: Tensor) -> Tensor:
        """Return KL(q || prior) of each layer in nats, (..., layers), to independent normals.

        Args:
            loc: (..., layers, *shape) means of the prior.
            scale: (..., layers, *shape) its standard deviations.
        """
        squares = (self.marginal_variance + (self.loc - loc).square()) / scale.square()
        terms = torch.log(scale) - self.log_scale + 0.5 * squares - 0.5
        return self._flat(terms).sum(-1)

    def kl_by_layer_to(self, p: Distribution) -> Tensor:
        """Return KL(q || p) of each layer in nats, (..., layers), to independent elements.

        Args:
            p: their laws, batch shape (..., layers, *shape).

        Raises:
            NotImplementedError: torch.distributions has no KL of a normal to such a law: see its `register_kl`.
        """
        variance = self.marginal_variance
        marginals = kl_divergence(Normal(self.loc, variance.sqrt(), validate_args=False), p)
        terms = marginals + 0.5 * torch.log(variance) - self.log_scale
        return self._flat(terms).sum(-1)

    @property
    def mean(self) -> Tensor:
        """Mean, batch shape + (layers, *shape)."""
        return self.loc.expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Marginal variances, batch shape + (layers, *shape)."""
        return self.marginal_variance.expand(self.batch_shape + self.event_shape)

    @property
    def support(self) -> constraints.Constraint:
        """All of (layers, *shape)."""
        return constraints.independent(constraints.real, len(self.event_shape))  # type: ignore[no-untyped-call]

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> PackedGaussian:
        """Return a view with this batch shape: independent copies, whose parameters are held once."""
        if broadcast_shape(self.batch_shape, batch_shape) != tuple(batch_shape):
            raise ValueError(f"can't expand batch shape {tuple(self.batch_shape)} to {tuple(batch_shape)}.")
        new = copy.copy(self)
        new._batch_shape = torch.Size(batch_shape)
        return new

    def rsample(self, sample_shape: Sequence[int] = _EMPTY) -> Tensor:
        """Draw sample shape + batch shape + (layers, *shape), with gradients, under torch's global random state."""
        shape = (*sample_shape, *self.batch_shape, len(self.loc), self.width)
        return self.loc + self.sqrt_matvec(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, sample shape + batch shape, of values (..., layers, *shape)."""
        if self._validate_args:
            self._validate_sample(value)
        constant = self.log_scale.sum() + 0.5 * self.loc.numel() * math.log(2 * math.pi)
        result = -0.5 * self.squared_distance(value - self.loc).sum(-1) - constant
        return result.expand(broadcast_shape(result.shape, self.batch_shape))

    def log_prob_by_layer(self, value: Tensor) -> Tensor:
        """Return the log density of each layer, (..., layers), of values (..., layers, *shape)."""
        constant = self._flat(self.log_scale).sum(-1) + 0.5 * self.size * math.log(2 * math.pi)
        return -0.5 * self.squared_distance(value - self.loc) - constant

    def _flat(self, value: Tensor) -> Tensor:
        """(..., layers, *shape) to (..., layers, d)."""
        return value.reshape(*value.shape[: value.dim() - len(self.layer_shape)], self.size)

    def _shaped(self, value: Tensor) -> Tensor:
        """(..., layers, d) to (..., layers, *shape)."""
        return value.reshape(*value.shape[:-1], *self.layer_shape)


def elements_of(p: Distribution) -> Distribution | None:
    """Return the laws of the elements, batch shape that of p and its events; None where p does not say them one by one."""
    base: Any = p
    while isinstance(base, Independent):
        base = base.base_dist
    return None if base.event_shape else base


def check_shape(what: str, value: Tensor, shape: Sequence[int]) -> None:
    """Check a parameter's shape: a wrong one might broadcast to a wrong number.

    Raises:
        GuideError: it is another.
    """
    if value.shape != torch.Size(shape):
        raise GuideError(f"{what} has shape {tuple(value.shape)}; the mean's shape asks for {tuple(shape)}.")


def _unexpanded(value: Tensor, event_dim: int) -> Tensor:
    """Shrink batch dimensions that only repeat a value to size 1."""
    for dim in range(value.dim() - event_dim):
        if value.stride(dim) == 0:
            value = value.narrow(dim, 0, 1)
    return value


def kl_by_layer(q: PackedGaussian, p: Distribution) -> Tensor:
    """Return KL(q || p) of each layer in nats, batch shape + (layers,).

    Copies that `expand` made (a Pyro plate) are computed once.

    Args:
        q: a Gaussian over a stack.
        p: a law of independent elements, such as `Normal(loc, scale).to_event(n)`, all dimensions of a stack as event
            dimensions.

    Raises:
        NotImplementedError: p is not that, or nobody registered the KL of a normal to the law of its elements.
    """
    base = elements_of(p)
    if base is None or p.event_shape != q.event_shape:
        raise NotImplementedError(
            f"no closed-form KL of {type(q).__name__} {tuple(q.event_shape)} against {type(p).__name__} "
            f"{tuple(p.event_shape)}."
        )
    event_dim = len(q.event_shape)
    if isinstance(base, Normal):
        kl = q.kl_by_layer(_unexpanded(base.loc, event_dim), _unexpanded(base.scale, event_dim))
    else:
        kl = q.kl_by_layer_to(base)
    return kl.expand(*broadcast_shape(q.batch_shape, p.batch_shape), len(q.loc))


@register_kl(PackedGaussian, Independent)  # type: ignore[no-untyped-call, untyped-decorator]
def _kl(q: PackedGaussian, p: Distribution) -> Tensor:
    return kl_by_layer(q, p).sum(-1)
