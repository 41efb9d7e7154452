"""LoRA: y = W0 x + s B A x, s = alpha / r.

Hu et al. 2021, arXiv 2106.09685. With A latent it is BLoB's parameterisation (arXiv 2406.11675).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from bayespeft.adapters.base import kaiming_rows
from bayespeft.adapters.low_rank import LowRank
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class Lora(LowRank):
    """Low-rank adaptation; r and alpha as `LowRank`.

    Attributes:
        latent: which of A (r x n) and B (m x r) are latent; the guide decides how uncertain. Both priors are
            centered at zero.
    """

    latent: tuple[Literal["A", "B"], ...] = ("A",)

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """A ~ U(-1/sqrt n, 1/sqrt n) of shape (r, n); B = 0 of shape (m, r)."""
        return {
            "A": Factor(
                kaiming_rows(self.r, layer.in_features, generator), "latent" if "A" in self.latent else "point"
            ),
            "B": Factor(torch.zeros(layer.out_features, self.r), "latent" if "B" in self.latent else "point"),
        }

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + s B A x."""
        return y + self.scaled(factors["B"], factors["A"].linear(x))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return s B A."""
        return self.scaling * factors["B"] @ factors["A"]

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return A, B and s."""
        return factors["A"], factors["B"], self.scaling


ADAPTER = Lora
