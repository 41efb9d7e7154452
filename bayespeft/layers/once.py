"""A weight that meets one vector of each example, as an output layer does behind a pooled feature.

Then the derivatives of an example's outputs by it are outer products, of what comes behind it with that vector: (K, m) and (n,)
numbers in place of (K, m, n).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from bayespeft.errors import GuideError
from bayespeft.layers.sparse import Pattern
from bayespeft.layers.weights import Shared, Weight


class NotOnceError(GuideError):
    """The weight of this name meets several vectors of an example, or does something else than multiply or be added."""

    def __init__(self, name: str) -> None:
        super().__init__(f"weight '{name}' does not meet one vector of each example")
        self.name = name


@dataclass(slots=True)
class Once(Weight):
    """A matrix (m, n), or vector (m,), that keeps what it meets.

    Attributes:
        name: of its stack.
        value: the weight.
        change: (rows, m), zero, a leaf: added to what the matrix gives, or to the vector.
        rows: examples.
        met: the vector that each example's row of the matrix met, (rows, n), or what a vector was added to, (rows, m), with its
            graph; None before that.
        gave: what came out, (rows, m), with its graph.
    """

    name: str
    value: Tensor
    change: Tensor
    rows: int | None
    met: Tensor | None = None
    gave: Tensor | None = None

    def linear(self, x: Tensor) -> Tensor:
        """x (rows, n) -> (rows, m)."""
        if self.value.dim() != 2 or x.dim() != 2:
            self._refuse()
        return self._kept(x, F.linear(x, self.value.to(x)))

    def add(self, y: Tensor) -> Tensor:
        """y (rows, m) -> (rows, m)."""
        if self.value.dim() != 1 or y.dim() != 2:
            self._refuse()
        return self._kept(y, y + self.value.to(y))

    def mul(self, x: Tensor) -> Tensor:
        """Refuse: what it meets there is another vector for each of its numbers."""
        self._refuse()

    def _minus(self, fixed: Tensor) -> Weight:
        self._refuse()

    def values(self) -> Shared:
        """Refuse: a function of the weight may do anything with it."""
        self._refuse()

    def sparse(self, x: Tensor, pattern: Pattern) -> Tensor:
        """Refuse: each of its numbers meets another number."""
        self._refuse()

    @property
    def right(self) -> Tensor:
        """The vector x of y = W x of each example, (rows, n), of a bias the 1 that it meets, (rows, 1)."""
        assert self.met is not None
        met = self.met.detach().float()
        return met if self.value.dim() > 1 else torch.ones_like(met[:, :1])

    def _kept(self, met: Tensor, y: Tensor) -> Tensor:
        if self.met is not None or len(y) != self.rows:
            self._refuse()
        self.met, self.gave = met, y + self.change.to(y)
        return self.gave

    def _refuse(self) -> NoReturn:
        raise NotOnceError(self.name)
