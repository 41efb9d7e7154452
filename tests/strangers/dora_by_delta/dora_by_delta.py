"""DoRA, said by its weight alone: W = m o (W0 + s B A) / |W0 + s B A|, norms row by row.

Liu et al. 2024, arXiv 2402.09353, eq. 5.
"""

from typing import Literal

import torch
from pydantic import Field

from bayespeft.adapters import Adapter, Factor, kaiming_rows


class DoraByDelta(Adapter):
    """Direction by a low-rank change, magnitude row by row; `latent` says which of A (r, n) and magnitude (m,) are random."""

    r: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    latent: tuple[Literal["A", "magnitude"], ...] = ("A",)

    def factors(self, layer, generator):
        norm = layer.weight().norm(dim=1)
        roles = {name: "latent" if name in self.latent else "point" for name in ("A", "magnitude")}
        return {
            "A": Factor(kaiming_rows(self.r, layer.in_features, generator), roles["A"]),
            "B": Factor(torch.zeros(layer.out_features, self.r), "point"),
            "magnitude": Factor(norm, roles["magnitude"], center=norm),
        }

    def delta(self, factors, layer):
        own = layer.weight().to(factors["A"])
        moved = own + (self.alpha / self.r) * factors["B"] @ factors["A"]
        return factors["magnitude"].unsqueeze(-1) * moved / moved.norm(dim=1, keepdim=True) - own
