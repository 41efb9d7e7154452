"""Dropout prior: each element is its center / (1 - p) with probability 1 - p, else 0: what dropout draws.

Beside a guide with the same law the KL is zero: dropout's posterior differs from its prior in the point factors only
(Gal & Ghahramani 2016, arXiv 1506.02142).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import model_validator
from pyro.distributions import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from bayespeft.errors import ConfigError, GuideError
from bayespeft.priors.base import Prior

_EMPTY = torch.Size()


def check_rate(p: float) -> None:
    """Check a dropout rate.

    Raises:
        ConfigError: p is not strictly between 0 and 1.
    """
    if not 0 < p < 1:
        raise ConfigError(
            f"p={p}: dropout needs 0 < p < 1. At p=0 every draw is the same network, so that there is no posterior to "
            "average (use method 'mle'); at p=1 nothing is left of the adapter."
        )


class _Atoms(constraints.Constraint):
    """The two values that each element can take."""

    is_discrete = True

    def __init__(self, kept: Tensor) -> None:
        self.kept = kept

    def check(self, value: Tensor) -> Tensor:
        return (value == 0) | (value == self.kept)


class ScaledBernoulli(TorchDistribution):  # type: ignore[misc]
    """center * Bernoulli(1 - p) / (1 - p), elements independent; event shape that of `center`.

    It has no parameter that is trained, so the gradient through a draw, none, is exact: to Pyro it is reparameterised.

    Args:
        center: the mean, (layers, *shape).
        p: probability of zero.
    """

    has_rsample = True
    arg_constraints = {"center": constraints.real}  # noqa: RUF012

    def __init__(self, center: Tensor, p: float) -> None:
        self.center, self.p = center, p
        super().__init__(_EMPTY, center.shape)

    @property
    def kept(self) -> Tensor:
        """What an element is where it is not dropped: center / (1 - p)."""
        return self.center / (1 - self.p)

    @property
    def support(self) -> constraints.Constraint:
        """0 and center / (1 - p)."""
        return constraints.independent(_Atoms(self.kept), len(self.event_shape))  # type: ignore[no-untyped-call]

    @property
    def mean(self) -> Tensor:
        """The center, batch shape + (layers, *shape)."""
        return self.center.expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """center^2 p / (1 - p), batch shape + (layers, *shape)."""
        return self.mean.square() * (self.p / (1 - self.p))

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> ScaledBernoulli:
        """Return a view with this batch shape: independent copies."""
        new = copy.copy(self)
        new._batch_shape = torch.Size(batch_shape)
        return new

    def rsample(self, sample_shape: Sequence[int] = _EMPTY) -> Tensor:
        """Draw sample shape + batch shape + (layers, *shape), under torch's global random state."""
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        return self.kept * (torch.rand(shape, device=self.center.device) >= self.p)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability, sample shape + batch shape, of values (..., layers, *shape)."""
        dims = tuple(range(-len(self.event_shape), 0))
        never = torch.full_like(value, -math.inf)
        zero = never.masked_fill(value == 0, math.log(self.p))
        kept = never.masked_fill(value == self.kept, math.log1p(-self.p))
        result = torch.logaddexp(zero, kept).sum(dims)
        return result.expand(broadcast_shape(result.shape, self.batch_shape))


@register_kl(ScaledBernoulli, ScaledBernoulli)  # type: ignore[no-untyped-call, untyped-decorator]
def _kl(q: ScaledBernoulli, p: ScaledBernoulli) -> Tensor:
    if q.p != p.p or not torch.equal(q.center, p.center):
        raise GuideError(
            f"guide 'dropout' draws {_words(q)}, its prior {_words(p)}: no draw of one is a draw of the other, so their KL is "
            "infinite. Give the guide and the method's latent_prior the same p, and take an adapter whose mask starts at its "
            "prior's center (masked_lora)."
        )
    return q.center.new_zeros(broadcast_shape(q.batch_shape, p.batch_shape))


def _words(law: ScaledBernoulli) -> str:
    return f"0 with p={law.p} around {float(law.center.mean()):.3g}"


class Dropout(Prior):
    """center * Bernoulli(1 - p) / (1 - p), element by element.

    Attributes:
        p: probability of zero.

    Raises:
        ConfigError: p is not strictly between 0 and 1.
    """

    p: float = 0.1

    @model_validator(mode="after")
    def _check(self) -> Dropout:
        check_rate(self.p)
        return self

    def distribution(self, center: Tensor) -> Distribution:
        """Return the law with all dimensions as event dimensions."""
        return ScaledBernoulli(center, self.p)


PRIOR = Dropout
