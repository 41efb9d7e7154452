"""Weights as an adapter meets them in one forward pass: what they do to an input, whatever noise they carry.

An adapter calls `linear`, `mul`, `add`, `values` and `sparse`, and never asks whether a weight is one tensor, one a draw, or
a mean with signs. What a kind of weight can't do, it refuses with a GuideError.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bayespeft.errors import GuideError
from bayespeft.layers.sparse import Pattern, pattern_of, sparse_linear


class Weight(ABC):
    """One factor of one layer, bound for one forward pass.

    `rows` is how many rows (examples, draws times examples) the layer's input must have, where the weight differs by row.
    """

    rows: int | None = None

    @abstractmethod
    def linear(self, x: Tensor) -> Tensor:
        """Apply the matrix (out, in) to the last dimension: x (batch, ..., in) -> (batch, ..., out)."""

    @abstractmethod
    def mul(self, x: Tensor) -> Tensor:
        """Multiply x (batch, ..., d) by the vector (d,), element by element."""

    def add(self, y: Tensor) -> Tensor:
        """Add the vector (out,) to y (batch, ..., out). Only unperturbed weights can."""
        raise GuideError(f"{type(self).__name__} can't act as a bias")

    def minus(self, fixed: Weight) -> Weight:
        """Subtract an unperturbed weight, in the precision of the values; the noise stays."""
        assert isinstance(fixed, Shared)
        return self._minus(fixed.value)

    @abstractmethod
    def _minus(self, fixed: Tensor) -> Weight:
        """Subtract the matrix (out, in), or vector (d,)."""

    def values(self) -> Shared | Grouped:
        """Return the weight as one value, or one for each group of rows, of which a function may be taken.

        Raises:
            GuideError: it is a mean with a deviation of random sign, which a function does not keep.
        """
        raise GuideError(
            f"{type(self).__name__} is a mean with a deviation of random sign, and a function of the value that isn't linear "
            "does not keep that form; use noise='example' or noise='batch' for this factor"
        )

    def sparse(self, x: Tensor, pattern: Pattern) -> Tensor:
        """Apply the sparse matrix (out, in) whose non-zeros are the vector (k,): x (batch, ..., in) -> (batch, ..., out)."""
        raise GuideError(f"{type(self).__name__} can't act as the non-zeros of a sparse matrix")

    def pattern(self, m: int, n: int) -> Pattern:
        """Take the vector (k,) as positions of the non-zeros of an m x n matrix. Only whole numbers that are shared can."""
        raise GuideError(f"{type(self).__name__} can't say where the non-zeros of a matrix are: every row shares them")


@dataclass(frozen=True, slots=True)
class Shared(Weight):
    """The same matrix (out, in), or vector (out,), for every row."""

    value: Tensor

    def _minus(self, fixed: Tensor) -> Shared:
        return Shared(self.value - fixed.to(self.value))

    def linear(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        return F.linear(x, self.value.to(x))

    def mul(self, x: Tensor) -> Tensor:
        """x (..., d) -> (..., d)."""
        return x * self.value.to(x)

    def add(self, y: Tensor) -> Tensor:
        """y (..., out) -> (..., out)."""
        return y + self.value.to(y)

    def values(self) -> Shared:
        """Return itself."""
        return self

    def sparse(self, x: Tensor, pattern: Pattern) -> Tensor:
        """x (..., in) -> (..., out)."""
        return sparse_linear(x, self.value, pattern)

    def pattern(self, m: int, n: int) -> Pattern:
        """Return the pattern at these positions; it is derived once."""
        return pattern_of(self.value, m, n)


@dataclass(frozen=True, slots=True)
class Grouped(Weight):
    """A matrix (or vector) for each of G groups of consecutive rows: `value` is (G, out, in) (or (G, d)), G divides the rows.

    G = examples gives each example its own draw, constant over its tokens; G = draws folds draws into the batch axis.
    """

    value: Tensor
    rows: int | None = None

    def _minus(self, fixed: Tensor) -> Grouped:
        return Grouped(self.value - fixed.to(self.value), self.rows)

    def linear(self, x: Tensor) -> Tensor:
        """x (G * k, ..., in) -> (G * k, ..., out); row i meets matrix i // k."""
        value = self.value.to(x)
        y = torch.matmul(self._grouped(x), value.mT)
        return y.reshape(*x.shape[:-1], value.shape[1])

    def mul(self, x: Tensor) -> Tensor:
        """x (G * k, ..., d) -> (G * k, ..., d); row i meets vector i // k."""
        return (self._grouped(x) * self._vectors(x)).reshape(x.shape)

    def add(self, y: Tensor) -> Tensor:
        """y (G * k, ..., out) -> (G * k, ..., out); row i meets vector i // k."""
        return (self._grouped(y) + self._vectors(y)).reshape(y.shape)

    def values(self) -> Grouped:
        """Return itself."""
        return self

    def sparse(self, x: Tensor, pattern: Pattern) -> Tensor:
        """x (G * k, ..., in) -> (G * k, ..., out); row i meets the non-zeros i // k."""
        return sparse_linear(x, self.value, pattern)

    def _grouped(self, x: Tensor) -> Tensor:
        return x.reshape(len(self.value), -1, x.shape[-1])

    def _vectors(self, like: Tensor) -> Tensor:
        if self.value.dim() != 2:
            raise GuideError(
                f"a matrix of shape {tuple(self.value.shape[1:])} can't act as a bias or a factor of elements"
            )
        return self.value.to(like).unsqueeze(1)


@dataclass(frozen=True, slots=True)
class Flipped(Weight):
    """Flipout (Wen et al. 2018, eq. 3): mean + deviation o (s_out s_in^T), with signs for each example.

    Shapes: mean, deviation (out, in); sign_out (batch, out); sign_in (batch, in). A vector (d,) has one sign for each
    element, sign_in (batch, d), and no sign_out.
    """

    mean: Tensor
    deviation: Tensor
    sign_out: Tensor | None
    sign_in: Tensor

    @property
    def rows(self) -> int:  # type: ignore[override]
        """The examples of the batch."""
        return len(self.sign_in)

    def _minus(self, fixed: Tensor) -> Flipped:
        return replace(self, mean=self.mean - fixed.to(self.mean))

    def linear(self, x: Tensor) -> Tensor:
        """x (batch, ..., in) -> (batch, ..., out)."""
        if self.sign_out is None:
            raise GuideError(f"a vector of shape {tuple(self.mean.shape)} can't act as a matrix")
        noise = F.linear(self._flipped(x), self.deviation.to(x)) * self.sign_out.to(x).unsqueeze(1)
        return F.linear(x, self.mean.to(x)) + noise.reshape(*x.shape[:-1], -1)

    def mul(self, x: Tensor) -> Tensor:
        """x (batch, ..., d) -> (batch, ..., d)."""
        return x * self.mean.to(x) + (self._flipped(x) * self.deviation.to(x)).reshape(x.shape)

    def sparse(self, x: Tensor, pattern: Pattern) -> Tensor:
        """x (batch, ..., in) -> (batch, ..., out); each non-zero has a sign of its own in each example."""
        if self.sign_out is not None:
            raise GuideError(f"a matrix of shape {tuple(self.mean.shape)} can't act as the non-zeros of a sparse one")
        return sparse_linear(x, self.mean + self.deviation * self.sign_in, pattern)

    def values(self) -> Shared | Grouped:
        """Return a vector with its signs: just a value for each example. A matrix would take signs at both ends."""
        if self.sign_out is not None:
            return Weight.values(self)
        return Grouped(self.mean + self.deviation * self.sign_in, rows=self.rows)

    def _flipped(self, x: Tensor) -> Tensor:
        """Return x with the signs of each example on it, as (batch, k, in)."""
        return x.reshape(len(self.sign_in), -1, x.shape[-1]) * self.sign_in.to(x).unsqueeze(1)


@dataclass(slots=True)
class TokenFlipped(Weight):
    """Flipout with fresh signs for every token, as official BLoB does: a draw is then not one network.

    Signs are kept by input shape, so that a recomputed forward pass (activation checkpointing) meets the same ones.
    Shapes: mean, deviation (out, in), or (d,) for a vector.
    """

    mean: Tensor
    deviation: Tensor
    _signs: dict[tuple[str, torch.Size], Tensor] = field(default_factory=dict)

    def _minus(self, fixed: Tensor) -> TokenFlipped:
        # The same signs: they belong to the noise.
        return replace(self, mean=self.mean - fixed.to(self.mean))

    def linear(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        noise = F.linear(self._flip("in", x), self.deviation.to(x))
        return F.linear(x, self.mean.to(x)) + self._flip("out", noise)

    def mul(self, x: Tensor) -> Tensor:
        """x (..., d) -> (..., d)."""
        return x * self.mean.to(x) + self._flip("in", x) * self.deviation.to(x)

    def sparse(self, x: Tensor, pattern: Pattern) -> Tensor:
        """Refuse: it would take a sign for each token and non-zero."""
        raise GuideError(
            "noise='token' would need a sign for each token and each non-zero of a sparse matrix, tokens times as many numbers "
            "as it has; use noise='flipout' (a sign for each example), 'example' or 'batch' for this factor"
        )

    def _flip(self, end: str, x: Tensor) -> Tensor:
        if (end, x.shape) not in self._signs:
            self._signs[end, x.shape] = random_signs(x.shape, x)
        return x * self._signs[end, x.shape]


def random_signs(shape: torch.Size | tuple[int, ...], like: Tensor) -> Tensor:
    """Draw +1 or -1 with equal probability, with the dtype and device of `like`."""
    return torch.randint(0, 2, shape, device=like.device).to(like.dtype).mul_(2).sub_(1)


def plain(weights: Mapping[str, Weight]) -> dict[str, Tensor]:
    """Return the values of weights that are shared by all rows: those of one network."""
    return {name: weight.value for name, weight in weights.items() if isinstance(weight, Shared)}
