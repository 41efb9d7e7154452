"""Rank one: y = b o (W0 (a o x)) + bias with two vectors, a of the inputs and b of the outputs: W = W0 o (b a^T).

Rank-1 BNN (Dusenberry et al. 2020, arXiv 2005.07186). Each layer keeps its weight and learns how much of each input and
output to let through; both vectors are uncertain around 1, m + n numbers for m n weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bayespeft.adapters.base import Adapter
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class RankOne(Adapter):
    """A latent factor for each input and each output of the layer."""

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """a (n,) and b (m,) start, and have their priors centered, at 1; `generator` is not used."""
        ones = {"a": torch.ones(layer.in_features), "b": torch.ones(layer.out_features)}
        return {name: Factor(one, "latent", center=one) for name, one in ones.items()}

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return b o (W0 (a o x)) + bias; the layer's own output is not used."""
        # The layer's own forward needs no copy of its weight, whatever its class; called directly, it runs no hooks.
        y = layer.module.forward(factors["a"].mul(x))
        bias = layer.bias()
        if bias is None:
            return factors["b"].mul(y)
        return factors["b"].mul(y - bias.to(y)) + bias.to(y)

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return W0 o (b a^T - 1)."""
        return layer.weight().to(factors["a"]) * (torch.outer(factors["b"], factors["a"]) - 1)


ADAPTER = RankOne
