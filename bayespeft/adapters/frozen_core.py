"""Frozen core: y = W0 x + s B C A x with B and A fixed from the SVD of W0 = U S V^T, and only the r x r core C trained.

LoRA-XS (Bałazy et al. 2024, arXiv 2405.17604), B = U_r S_r and A = V_r^T; B-LoRA-XS (arXiv 2502.12122) makes C uncertain.
With both frames fixed, C = 0 is a live start, and nothing can absorb C's scale: its KL is that of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from bayespeft.adapters.base import Adapter
from bayespeft.adapters.frames import truncated_svd
from bayespeft.factors import Factor
from bayespeft.sites import Site
from bayespeft.weights import Weight


class FrozenCore(Adapter):
    """A latent core between the layer's own leading singular vectors.

    Attributes:
        r: rank, at most the smaller side of the layer; C is r x r.
        alpha: numerator of the scale s = alpha / r.
        spectrum: "singular" (B = U_r S_r, as LoRA-XS) or "unit" (B = U_r): whether a direction counts in proportion
            to its singular value, or all count alike.
    """

    r: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    spectrum: Literal["singular", "unit"] = "singular"

    def factors(self, site: Site, generator: torch.Generator) -> dict[str, Factor]:
        """A (r, n) and B (m, r), fixed, are W0's leading singular vectors; C = 0 (r, r), its prior centered there.

        Raises:
            AttachError: r is larger than the smaller side of the layer, or the layer's weight can't be read.
        """
        left, values, right = truncated_svd(site.weight(), self.r, generator, site)
        return {
            "A": Factor(right, "fixed"),
            "B": Factor(left * values if self.spectrum == "singular" else left, "fixed"),
            "C": Factor(torch.zeros(self.r, self.r), "latent"),
        }

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, site: Site) -> Tensor:
        """Return y + s B C A x."""
        # The scale meets the r channels, not the m outputs.
        channels = factors["C"].linear(factors["A"].linear(x)) * (self.alpha / self.r)
        return y + factors["B"].linear(channels)

    def delta(self, factors: Mapping[str, Tensor], site: Site) -> Tensor:
        """Return s B C A."""
        return (self.alpha / self.r) * factors["B"] @ factors["C"] @ factors["A"]

    def to_lora(self, factors: Mapping[str, Tensor], site: Site) -> tuple[Tensor, Tensor, float]:
        """Return A, B C and s."""
        return factors["A"], factors["B"] @ factors["C"], self.alpha / self.r


ADAPTER = FrozenCore
