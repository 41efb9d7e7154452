"""Masked LoRA: y = W0 x + s B A (z o x) with a mask z over the layer's inputs, s = alpha / r.

Where LoRA puts its dropout, and so where MC dropout (Gal & Ghahramani 2016, arXiv 1506.02142) has its Bernoulli: a column
of B A is uncertain as a whole, n numbers a layer, while B A itself is a point.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from bayespeft.adapters.base import Adapter, low_rank_points
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class MaskedLora(Adapter):
    """Low-rank adaptation with a latent mask on its input.

    Attributes:
        r: rank.
        alpha: numerator of the scale s = alpha / r.
    """

    r: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """A (r, n) and B = 0 (m, r) as LoRA's; z (n,) starts, and has its prior centered, at 1."""
        ones = torch.ones(layer.in_features)
        return {
            **low_rank_points(self.r, layer, generator),
            "z": Factor(ones, "latent", center=ones),
        }

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + s B A (z o x)."""
        # The scale meets the r channels, not the m outputs.
        channels = factors["A"].linear(factors["z"].mul(x)) * (self.alpha / self.r)
        return y + factors["B"].linear(channels)

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return s B A diag(z)."""
        return (self.alpha / self.r) * factors["B"] @ factors["A"] * factors["z"]

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return A diag(z), B and s."""
        return factors["A"] * factors["z"], factors["B"], self.alpha / self.r


ADAPTER = MaskedLora
