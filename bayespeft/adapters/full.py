"""Full: y = W x + b with the whole weight trained, starting at the layer's own.

The absolute weight is the factor, not its change: a freshly made head differs from one construction of the network to
the next, so only absolute values can be loaded again.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bayespeft.adapters.base import Adapter
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class Full(Adapter):
    """The layer's own weight (m, n) and bias (m,), trained."""

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """W and, where the layer has one, b; `generator` is not used."""
        factors = {"W": Factor(layer.weight(), "point", center=layer.weight())}
        bias = layer.bias()
        return factors if bias is None else {**factors, "b": Factor(bias, "point", center=bias)}

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return W x + b; the layer's own output is not used."""
        y = factors["W"].linear(x)
        return factors["b"].add(y) if "b" in factors else y

    def layer(self, factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weight "W" (m, n) and the bias "b" (m,), where there is one, of the plain layer."""
        return {name: factors[name] for name in ("W", "b") if name in factors}

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return W - W0."""
        return factors["W"] - layer.weight().to(factors["W"])


ADAPTER = Full
