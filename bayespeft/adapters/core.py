"""Core: y = W0 x + s B C A x with an r x r core C, s = alpha / r.

Me-LoRA (ICLR 2025 submission). The start is mean C = I and B = 0: the network equals the base for every draw of C, and
B's first gradient is LoRA's; C = 0 and B = 0 together would be a dead start.
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


class Core(LowRank):
    """Low-rank adaptation with a latent r x r core; settings as `LowRank`."""

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """A (r, n) as LoRA's; B = 0 (m, r); C (r, r) starts, and has its prior centered, at the identity."""
        eye = torch.eye(self.r)
        return {
            **low_rank_points(self.r, layer, generator),
            "C": Factor(eye, "latent", center=eye),
        }

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + s B C A x."""
        return y + self.scaled(factors["B"], factors["C"].linear(factors["A"].linear(x)))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return s B C A."""
        return self.scaling * factors["B"] @ factors["C"] @ factors["A"]

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return A, B C and s."""
        return factors["A"], factors["B"] @ factors["C"], self.scaling


ADAPTER = Core
