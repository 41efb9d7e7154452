"""What adapters share that lead an input through r channels and scale what comes out of them by s = alpha / r."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from bayespeft.adapters.base import Adapter
from bayespeft.layers.weights import Weight


class LowRank(Adapter):
    """A change s B (...) with B (m, r) behind r channels, s = alpha / r as in LoRA (Hu et al. 2021, arXiv 2106.09685).

    Attributes:
        r: rank.
        alpha: numerator of the scale s = alpha / r.
    """

    r: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)

    @property
    def scaling(self) -> float:
        """The scale s = alpha / r."""
        return self.alpha / self.r

    def scaled(self, b: Weight, channels: Tensor) -> Tensor:
        """Return s B c (..., m) of channels c (..., r)."""
        # The scale meets the r channels, not the m outputs.
        return b.linear(channels * self.scaling)
