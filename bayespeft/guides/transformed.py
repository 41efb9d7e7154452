"""Guides that say how standard normals become values, and by how much that stretches space: normalising flows.

Rezende & Mohamed 2015, arXiv 1505.05770. Of such a q there are draws and the density of what was drawn, by the change of
variables ln q(f(e)) = ln N(e) - ln |det df/de|, and that is all that a Monte Carlo KL needs: f is never inverted.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, constraints

from bayespeft.guides.base import Guide

_EMPTY = torch.Size()
_LOG_2PI = math.log(2 * math.pi)


class Transformed(TorchDistribution):  # type: ignore[misc]
    """The law of f(e), e standard normals; event shape (layers, *shape). A density is known of the last draw only.

    Args:
        f: from normals (n, layers, width) to values (n, layers, d) and their log density (n, layers).
        shape: (layers, *shape) of the values.
        like: gives dtype and device.
        width: normals that a layer takes; left out, one for each value.
    """

    has_rsample = True
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        f: Callable[[Tensor], tuple[Tensor, Tensor]],
        shape: Sequence[int],
        like: Tensor,
        width: int | None = None,
    ) -> None:
        self._f, self._like = f, like
        self._width = math.prod(shape[1:]) if width is None else width
        self._last: tuple[Tensor, Tensor] | None = None
        super().__init__(_EMPTY, torch.Size(shape))

    @property
    def support(self) -> constraints.Constraint:
        """All of (layers, *shape)."""
        return constraints.independent(constraints.real, len(self.event_shape))  # type: ignore[no-untyped-call]

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Transformed:
        """Return the law of independent copies, in this batch shape."""
        new = copy.copy(self)
        new._batch_shape, new._last = torch.Size(batch_shape), None
        return new

    def rsample(self, sample_shape: Sequence[int] = _EMPTY) -> Tensor:
        """Draw sample shape + batch shape + (layers, *shape), with gradients, under torch's global random state."""
        batch = torch.Size((*sample_shape, *self.batch_shape))
        layers, like = self.event_shape[0], self._like
        noise = torch.randn(batch.numel(), layers, self._width, dtype=like.dtype, device=like.device)
        values, density = self._f(noise)
        drawn = values.reshape(*batch, *self.event_shape)
        self._last = drawn, density.reshape(*batch, layers)
        return drawn

    def log_prob_by_layer(self, value: Tensor) -> Tensor:
        """Return the log density of each layer, sample shape + batch shape + (layers,), of the last draw.

        Raises:
            NotImplementedError: the value is another one: f has no inverse here.
        """
        if self._last is None or value is not self._last[0]:
            raise NotImplementedError(
                "a transformed law knows the density of its last draw only, and this is another value."
            )
        return self._last[1]

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density, sample shape + batch shape; argument and errors as `log_prob_by_layer`."""
        return self.log_prob_by_layer(value).sum(-1)


def log_density_of_normals(noise: Tensor) -> Tensor:
    """Return the log density of standard normals, summed over the last dimension."""
    return -0.5 * (noise.square() + _LOG_2PI).sum(-1)


class TransformedGuide(Guide):
    """One differentiable, invertible map for each stack, from standard normals to its values; stacks independent.

    Its settings say `closed_form = False`, and `symmetric` only if q is. A subclass gives `flow`, and its parameters.
    """

    @abstractmethod
    def flow(self, name: str, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Turn standard normals into values of a stack, layer by layer.

        Args:
            name: of the stack.
            noise: (n, layers, d) for d numbers a layer.

        Returns:
            Values (n, layers, d), the elements of a layer flattened, and ln |det| of the map's Jacobian (n, layers).
        """

    def q(self) -> dict[str, Distribution]:
        """Return the law of each stack, event shape (layers, ...)."""
        like = next(iter(self.parameters()))
        return {
            stack.name: Transformed(partial(self._with_density, stack.name), stack.init.shape, like)
            for stack in self.stacks
        }

    def mean(self) -> dict[str, Tensor]:
        """Return where noise of zero goes (layers, ...): a flow has no mean in closed form."""
        return {name: value[0] for name, value in self.transform(self._zero()).items()}

    @property
    def noise_size(self) -> int:
        """One standard normal for each number."""
        return sum(stack.init.numel() for stack in self.stacks)

    def transform(self, noise: Tensor) -> dict[str, Tensor]:
        """Return the values of each stack, (n, layers, ...), of noise (n, noise_size)."""
        parts = torch.split(noise, [stack.init.numel() for stack in self.stacks], dim=-1)
        return {
            stack.name: self.flow(stack.name, part.reshape(len(noise), len(stack.init), -1))[0].reshape(
                -1, *stack.init.shape
            )
            for stack, part in zip(self.stacks, parts, strict=True)
        }

    def _with_density(self, name: str, noise: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = self.flow(name, noise)
        return values, log_density_of_normals(noise) - log_det

    def _zero(self) -> Tensor:
        return torch.zeros(1, self.noise_size).to(next(iter(self.parameters())))
