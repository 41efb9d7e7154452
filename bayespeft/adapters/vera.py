"""VeRA: W = W0 + diag(b) B diag(d) A with random matrices A and B that are never trained, the same ones for all layers.

Kopiczko et al. 2024, arXiv 2310.11454, eq. 2. What is learned are two vectors a layer: d scales the r channels, b the outputs.
Layers of one width share A or B; peft cuts both for all layers out of the largest ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bayespeft.adapters.base import Adapter
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight
from bayespeft.utils.annotations import Seed


class Vera(Adapter):
    """Two trained vectors around random projections.

    Attributes:
        r: rows of A and columns of B.
        d_initial: where each element of d starts.
        latent: which of d (r) and b (m) are latent. Their priors are centered where they start, at `d_initial` and zero.
        seed: of A and B. It is apart from the seed of a fit, so that another fit has the same ones.
    """

    r: int = Field(default=256, ge=1)
    d_initial: float = 0.1
    latent: tuple[Literal["d", "b"], ...] = ("d",)
    seed: Seed = 0

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """A (r, n) and B (m, r), fixed, U(-sqrt(6 / k), sqrt(6 / k)) for k columns; d = d_initial (r,), b = 0 (m,)."""
        d = torch.full((self.r,), self.d_initial)
        return {
            "A": Factor(self._projection(self.r, layer.in_features), "fixed", shared=True),
            "B": Factor(self._projection(layer.out_features, self.r), "fixed", shared=True),
            "d": Factor(d, "latent" if "d" in self.latent else "point", center=d),
            "b": Factor(torch.zeros(layer.out_features), "latent" if "b" in self.latent else "point"),
        }

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + b o B (d o A x)."""
        return y + factors["b"].mul(factors["B"].linear(factors["d"].mul(factors["A"].linear(x))))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return diag(b) B diag(d) A."""
        return (factors["b"].unsqueeze(-1) * factors["B"]) @ (factors["d"].unsqueeze(-1) * factors["A"])

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return diag(d) A, diag(b) B and 1."""
        return factors["d"].unsqueeze(-1) * factors["A"], factors["b"].unsqueeze(-1) * factors["B"], 1.0

    def _projection(self, rows: int, columns: int) -> Tensor:
        bound = math.sqrt(6 / columns)  # kaiming_uniform with a = 0
        generator = torch.Generator().manual_seed(self.seed)
        return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)


ADAPTER = Vera
