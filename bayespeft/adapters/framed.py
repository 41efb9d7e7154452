"""What adapters share whose factors come from singular triplets of the layer's own weight."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field

from bayespeft.adapters.base import Adapter
from bayespeft.adapters.frames import Frames, truncated_svd
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer


class Framed(Adapter):
    """An adapter that decomposes the layer's weight for its start.

    Attributes:
        r: triplets that are used, at most the smaller side of the layer.
    """

    decomposes: ClassVar[bool] = True
    r: int = Field(default=8, ge=1)

    def split(self, layer: Layer, generator: torch.Generator) -> Frames:
        """Return r singular triplets of the layer's weight as it is now: the leading ones, unless a subclass chooses others.

        Raises:
            AttachError: r is larger than the smaller side of the layer, or the layer's weight can't be read.
        """
        return truncated_svd(layer.weight(), self.r, generator, layer)

    @abstractmethod
    def around(self, frames: Frames) -> dict[str, Factor]:
        """Return the adapter's tensors for these triplets."""

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """Return `around` the layer's `split`; raises as these do."""
        return self.around(self.split(layer, generator))

    def blank(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """Return `around` triplets of zeros."""
        return self.around(
            Frames(torch.zeros(layer.out_features, self.r), torch.zeros(self.r), torch.zeros(self.r, layer.in_features))
        )
