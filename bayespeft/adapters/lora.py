"""LoRA: y = W0 x + s B A x, s = alpha / r.

Hu et al. 2021, arXiv 2106.09685. With A latent it is BLoB's parameterisation (arXiv 2406.11675).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bayespeft.adapters.base import Adapter, kaiming_rows
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class Lora(Adapter):
    """Low-rank adaptation.

    Attributes:
        r: rank.
        alpha: numerator of the scale s = alpha / r.
        latent: which of A (r x n) and B (m x r) are latent; the guide decides how uncertain. Both priors are
            centered at zero.
    """

    r: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
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
        # The scale meets the r channels, not the m outputs.
        return y + factors["B"].linear(factors["A"].linear(x) * (self.alpha / self.r))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return s B A."""
        return (self.alpha / self.r) * factors["B"] @ factors["A"]

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return A, B and s."""
        return factors["A"], factors["B"], self.alpha / self.r


ADAPTER = Lora
