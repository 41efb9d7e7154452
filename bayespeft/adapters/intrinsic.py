"""Intrinsic dimension: y = (W0 + lambda P theta) x, with one theta of d numbers for the whole network.

Li et al. 2018, arXiv 1804.08838 (DID); Aghajanyan et al. 2020, arXiv 2012.13255 (SAID: one more trained scale a layer). P is
a Fastfood projection of the layer's own (see `bayespeft.adapters.fastfood`): the change of each layer has the Frobenius
norm |lambda| |theta| in expectation, whatever its size. theta = 0 is a live start, since lambda starts at 1.

The change has no structure that an input could be led through, so each forward pass makes it, dense (m, n), once for each
draw of theta: O(mn log mn), and nothing cheaper is known. P is made anew from a seed and kept as long as the layer lives,
8 to 16 bytes a weight; what is saved is theta, the scales and, in the settings, the seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from pydantic import Field
from torch import Tensor, nn

from bayespeft.adapters.base import Adapter
from bayespeft.adapters.fastfood import Fastfood
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight
from bayespeft.utils.annotations import Seed

# Each layer's last projection, by the seed, size and device that it was drawn for.
_DRAWN: WeakKeyDictionary[nn.Module, tuple[tuple[int, int, torch.device], Fastfood]] = WeakKeyDictionary()


class Intrinsic(Adapter):
    """A latent vector that all layers share, projected at random to the change of each layer.

    Attributes:
        d: numbers in theta.
        scale: "one" (lambda = 1, DID) or "layer" (a trained lambda for each layer, SAID).
        seed: of the projections, with the layer's name; another seed is another subspace. It is apart from the seed of a
            fit, so that what is saved needs no projection.
    """

    d: int = Field(default=1000, ge=1)
    scale: Literal["one", "layer"] = "layer"
    seed: Seed = 0

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """theta = 0 (d,), shared; lambda = 1 (1,), where there is one a layer; `generator` is not used."""
        theta = {"theta": Factor(torch.zeros(self.d), "latent", shared=True)}
        one = torch.ones(1)
        return theta if self.scale == "one" else {**theta, "lambda": Factor(one, "point", center=one)}

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + lambda (P theta) x."""
        # Drawn here: under a transformation such as vmap, tensors that are kept would not outlive it.
        projection = self._projection(layer, x.device)
        theta = factors["theta"].values()
        change = replace(theta, value=self._matrix(projection, theta.value, layer)).linear(x)
        return y + (factors["lambda"].mul(change) if "lambda" in factors else change)

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return lambda P theta."""
        theta = factors["theta"]
        change = self._matrix(self._projection(layer, theta.device), theta, layer)
        return factors["lambda"] * change if "lambda" in factors else change

    def _matrix(self, projection: Fastfood, theta: Tensor, layer: Layer) -> Tensor:
        """(..., d) to (..., m, n)."""
        return projection(theta).reshape(*theta.shape[:-1], layer.out_features, layer.in_features)

    def _projection(self, layer: Layer, device: torch.device) -> Fastfood:
        seed = zlib.crc32(f"{self.seed} {layer.name}".encode())
        key = (self.d, seed, device)
        kept = _DRAWN.get(layer.module)
        if kept is None or kept[0] != key:
            kept = key, Fastfood.draw(self.d, layer.in_features * layer.out_features, seed, device)
            _DRAWN[layer.module] = kept
        return kept[1]


ADAPTER = Intrinsic
