"""Weights as an adapter meets them in one forward pass: what they do to an input, whatever noise they carry.

An adapter calls `linear` and `add` and never asks whether a weight is one matrix, one a draw, or a mean with signs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


class Weight(ABC):
    """One factor of one layer, bound for one forward pass.

    `rows` is how many rows (examples, draws times examples) the layer's input must have, where the weight differs by row.
    """

    rows: int | None = None

    @abstractmethod
    def linear(self, x: Tensor) -> Tensor:
        """Apply the matrix (out, in) to the last dimension: x (batch, ..., in) -> (batch, ..., out)."""

    def add(self, y: Tensor) -> Tensor:
        """Add the vector (out,) to y (batch, ..., out). Only unperturbed weights can."""
        raise TypeError(f"{type(self).__name__} can't act as a bias")


@dataclass(frozen=True, slots=True)
class Shared(Weight):
    """The same matrix (out, in), or vector (out,), for every row."""

    value: Tensor

    def linear(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        return F.linear(x, self.value.to(x))

    def add(self, y: Tensor) -> Tensor:
        """y (..., out) -> (..., out)."""
        return y + self.value.to(y)


@dataclass(frozen=True, slots=True)
class Grouped(Weight):
    """A matrix for each of G groups of consecutive rows: `value` is (G, out, in), G divides the rows.

    G = examples gives each example its own draw, constant over its tokens; G = draws folds draws into the batch axis.
    """

    value: Tensor
    rows: int | None = None

    def linear(self, x: Tensor) -> Tensor:
        """x (G * k, ..., in) -> (G * k, ..., out); row i meets matrix i // k."""
        value = self.value.to(x)
        groups, out, _ = value.shape
        y = torch.matmul(x.reshape(groups, -1, x.shape[-1]), value.mT)
        return y.reshape(*x.shape[:-1], out)


@dataclass(frozen=True, slots=True)
class Flipped(Weight):
    """Flipout (Wen et al. 2018, eq. 3): mean + deviation o (s_out s_in^T), with signs for each example.

    Shapes: mean, deviation (out, in); sign_out (batch, out); sign_in (batch, in).
    """

    mean: Tensor
    deviation: Tensor
    sign_out: Tensor
    sign_in: Tensor

    @property
    def rows(self) -> int:  # type: ignore[override]
        """The examples of the batch."""
        return len(self.sign_in)

    def linear(self, x: Tensor) -> Tensor:
        """x (batch, ..., in) -> (batch, ..., out)."""
        batch = len(self.sign_in)
        rows = x.reshape(batch, -1, x.shape[-1])
        noise = F.linear(rows * self.sign_in.to(x).unsqueeze(1), self.deviation.to(x)) * self.sign_out.to(x).unsqueeze(
            1
        )
        return F.linear(x, self.mean.to(x)) + noise.reshape(*x.shape[:-1], -1)


@dataclass(slots=True)
class TokenFlipped(Weight):
    """Flipout with fresh signs for every token, as official BLoB does: a draw is then not one network.

    Signs are kept by input shape, so that a recomputed forward pass (activation checkpointing) meets the same ones.
    """

    mean: Tensor
    deviation: Tensor
    _signs: dict[torch.Size, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def linear(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        if x.shape not in self._signs:
            shape, out = x.shape, len(self.mean)
            self._signs[shape] = (random_signs(shape, x), random_signs((*shape[:-1], out), x))
        sign_in, sign_out = self._signs[x.shape]
        return F.linear(x, self.mean.to(x)) + F.linear(x * sign_in, self.deviation.to(x)) * sign_out


def random_signs(shape: torch.Size | tuple[int, ...], like: Tensor) -> Tensor:
    """Draw +1 or -1 with equal probability, with the dtype and device of `like`."""
    return torch.randint(0, 2, shape, device=like.device).to(like.dtype).mul_(2).sub_(1)
