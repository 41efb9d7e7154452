"""What every adapter offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bayespeft.adapters.combined import combined
from bayespeft.config import Plugin
from bayespeft.errors import AttachError, GuideError
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.watched import Summand
from bayespeft.layers.weights import Weight


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What an adapter wants to see of the data before the fit.

    Attributes:
        steps: of training by maximum likelihood before gradients are looked at.
        gradients: steps after these, training going on, over which each layer's dense gradient G is added up; then everything
            starts anew.
        of: what is added up, element by element.
        absent: names of factors that take no part.
    """

    steps: int
    gradients: int
    of: Summand
    absent: tuple[str, ...]


class Adapter(Plugin, ABC):
    """A parameterisation of the change of a linear layer y = W0 x (+ b), with x (..., n) and y (..., m).

    Attributes:
        decomposes: its start is found in the layer's weight and not drawn: at some cost, so that what was fitted before is
            read into a `blank`, and in one way for all members of an ensemble.
        measures: it wants to see the layer's inputs on training rows before the fit: see `measured`.
    """

    room: ClassVar[str] = "adapters"
    decomposes: ClassVar[bool] = False
    measures: ClassVar[bool] = False

    @abstractmethod
    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """Return the adapter's tensors at a layer, with initial values drawn from `generator` (on the CPU)."""

    @property
    def exact_gradient(self) -> bool:
        """Whether what training differentiates is the output; False where the method takes a part of it as a constant."""
        return True

    @property
    def anchors(self) -> frozenset[str]:
        """The factors whose starts are drawn and whose priors are centered there: nothing else tells where that is."""
        return frozenset()

    def blank(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """Return tensors as `factors` does, of any values where it `decomposes`: what was fitted before takes their place."""
        return self.factors(layer, generator)

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return the adapted output (..., m), from the layer's input x (..., n) and its own output y (..., m).

        Here it is y + delta x, with the dense `delta` of each group of rows that share a draw: m n numbers for each example
        where examples have draws of their own. An adapter whose change has a structure that x can be led through overrides
        it: that saves the memory, and works where signs are flipped, if the change is linear in each matrix.

        Raises:
            GuideError: a matrix has flipped signs, of which `delta` is no linear function that could be told.
        """
        try:
            change = combined(lambda values: self.delta(values, layer), factors)
        except GuideError as error:
            raise GuideError(
                f"adapter '{self.kind}' changes layer '{layer.name}' by a function of all its factors together: {error}"
            ) from error
        return y + change.linear(x)

    @abstractmethod
    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return the change of the weight, dense (m, n), for plain factor values, that `apply` makes.

        It is a function of the values that torch.func can map and differentiate: no value decides which way it goes.
        """

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float] | None:
        """Return A (r, n), B (m, r) and s with `delta` = s B A exactly, or None where the adapter has no such form."""
        return None

    def from_lora(self, a: Tensor, b: Tensor, scale: float) -> tuple[Adapter, dict[str, Tensor]] | None:
        """Return this adapter, of the rank that it takes, and values of all its factors with `delta` = s B A.

        None where the adapter can't begin at a LoRA, as most can't.

        Args:
            a: (r, n).
            b: (m, r).
            scale: s.
        """
        return None

    def low_rank_change(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor]:
        """Return left (m, k) and right (k, n) with `delta` = left @ right.

        Raises:
            AttachError: the change has no such form.
        """
        lora = self.to_lora(factors, layer)
        if lora is None:
            raise AttachError(
                f"the change that adapter '{self.kind}' makes to layer '{layer.name}' is not of low rank in its factors."
            )
        a, b, scale = lora
        return scale * b, a

    def warm_up(self) -> WarmUp | None:
        """Return what has to be seen of the data before the fit; None, as for most adapters: nothing."""
        return None

    def warmed_up(self, layer: Layer, gradients: Tensor) -> dict[str, Tensor]:
        """Return initial values of fixed factors, out of a layer's accumulated gradients (m, n) over the warm-up."""
        return {}

    def measured(self, layer: Layer, inputs: Tensor) -> dict[str, Tensor]:
        """Return initial values of factors, out of a layer's inputs (rows, n) on training rows before the fit."""
        return {}

    def merge_interval(self, steps_per_epoch: int) -> int | None:
        """Return after how many steps the change is merged into the layer's own weight and `factors` asked for anew.

        None, as for most adapters: never; the network's weights are then not touched.
        """
        return None

    def carried(
        self, name: str, variance: Tensor, initial: float, old: Mapping[str, Tensor], new: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the variance of a latent factor after a merge and a new start, element by element.

        Args:
            name: the factor's.
            variance: before the merge, in the factor's shape.
            initial: the variance that a fit starts with.
            old: the values of all factors at the layer before the merge.
            new: and after it.
        """
        return torch.full_like(variance, initial)


def kaiming_rows(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Draw LoRA's A (rows, columns): U(-1/sqrt n, 1/sqrt n), n = columns (kaiming_uniform with a = sqrt 5)."""
    bound = columns**-0.5
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)


def low_rank_points(r: int, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
    """Return LoRA's A (r, n) and B = 0 (m, r) as points."""
    return {
        "A": Factor(kaiming_rows(r, layer.in_features, generator), "point"),
        "B": Factor(torch.zeros(layer.out_features, r), "point"),
    }
