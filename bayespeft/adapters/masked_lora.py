"""Masked LoRA: y = W0 x + s B A (z o x) with a mask z over the layer's inputs, s = alpha / r.

Where LoRA puts its dropout, and so where MC dropout (Gal & Ghahramani 2016, arXiv 1506.02142) has its Bernoulli: a column
of B A is uncertain as a whole, n numbers a layer, while B A itself is a point.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bayespeft.adapters.base import low_rank_points
from bayespeft.adapters.low_rank import LowRank
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class MaskedLora(LowRank):
    """Low-rank adaptation with a latent mask on its input; settings as `LowRank`."""

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """A (r, n) and B = 0 (m, r) as LoRA's; z (n,) starts, and has its prior centered, at 1."""
        ones = torch.ones(layer.in_features)
        return {
            **low_rank_points(self.r, layer, generator),
            "z": Factor(ones, "latent", center=ones),
        }

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + s B A (z o x)."""
        return y + self.scaled(factors["B"], factors["A"].linear(factors["z"].mul(x)))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return s B A diag(z)."""
        return self.scaling * factors["B"] @ factors["A"] * factors["z"]

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return A diag(z), B and s."""
        return factors["A"] * factors["z"], factors["B"], self.scaling


ADAPTER = MaskedLora
