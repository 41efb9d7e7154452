"""VeRA, said by its weight alone: W0 + diag(b) B diag(d) A with random A and B that are never trained.

Kopiczko et al. 2024, arXiv 2310.11454, eq. 2.
"""

import torch
from pydantic import Field

from bayespeft.adapters import Adapter, Factor, kaiming_rows


class VeraByDelta(Adapter):
    """Two trained vectors a layer: d (r,), latent, and b (m,); A and B stay as they were drawn."""

    r: int = Field(default=64, ge=1)

    def factors(self, layer, generator):
        d = torch.full((self.r,), 0.1)
        return {
            "A": Factor(kaiming_rows(self.r, layer.in_features, generator), "fixed"),
            "B": Factor(kaiming_rows(layer.out_features, self.r, generator), "fixed"),
            "d": Factor(d, "latent", center=d),
            "b": Factor(torch.zeros(layer.out_features), "point"),
        }

    def delta(self, factors, layer):
        return factors["b"].unsqueeze(-1) * factors["B"] @ (factors["d"].unsqueeze(-1) * factors["A"])
