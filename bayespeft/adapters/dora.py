"""DoRA: W = g o V / |V| with V = W0 + s B A, norms |V| of the rows, that is of each output; s = alpha / r.

Liu et al. 2024, arXiv 2402.09353, eq. 5: the magnitude g of each output is learned beside the direction V, which changes by a
matrix of low rank. It starts at the layer's own norms. The paper's norms are of columns in words; its code's are those of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from bayespeft.adapters.combined import combined
from bayespeft.adapters.lora import Lora
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class Dora(Lora):
    """Low-rank adaptation of the direction, a trained magnitude for each output; r and alpha as `LowRank`.

    Attributes:
        latent: which of A (r x n), B (m x r) and the magnitude g (m) are latent; the last one's prior is centered at the start.
        constant_norm: take |V| as a constant in the gradient, as the paper's code does to save memory (section 4.3). The
            gradient is then not that of the objective.
    """

    latent: tuple[Literal["A", "B", "g"], ...] = ("g",)  # type: ignore[assignment]
    constant_norm: bool = False

    @property
    def exact_gradient(self) -> bool:
        """As the base: not with `constant_norm`."""
        return not self.constant_norm

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """A (r, n) and B = 0 (m, r) as LoRA's; g (m,), the norms of the layer's own rows."""
        factors = super().factors(layer, generator)
        g = layer.weight().cpu().norm(dim=-1)
        return {**factors, "g": Factor(g, "latent" if "g" in self.latent else "point", center=g)}

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return V x + bias + (g / |V| - 1) o V x, with V x + bias = y + s B A x."""
        # In half precision a factor that is nearly 1 would be rounded to it, and its difference from 1 is not.
        excess = combined(lambda values: values["g"] / self._norm(values, layer) - 1, factors)
        moved, bias = super().apply(factors, x, y, layer), layer.bias()
        return moved + excess.mul(moved if bias is None else moved - bias.to(y))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return g / |V| o V - W0."""
        own = layer.weight().to(factors["A"])
        gain = factors["g"] / self._norm(factors, layer)
        return gain.unsqueeze(-1) * (own + super().delta(factors, layer)) - own

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> None:  # type: ignore[override]
        """Return None: a row of W0 changes its length, whatever the rank of the rest."""

    def _norm(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """|V| (m,), without V itself: |W0|^2 + 2 s B . W0 A^T + s^2 |B A|^2, row by row."""
        a, b, scale = factors["A"], factors["B"], self.scaling
        own = layer.matrix().to(a)
        change = (b * (2 * scale * own @ a.mT + scale**2 * b @ (a @ a.mT))).sum(-1)
        norm: Tensor = (own.norm(dim=-1).square() + change).clamp_min(torch.finfo(a.dtype).tiny).sqrt()
        return norm.detach() if self.constant_norm else norm


ADAPTER = Dora
