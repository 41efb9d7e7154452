"""Head: y = W (x - mean) / scale + b, an output layer in the coordinates of what it is given.

mean and scale are those of the layer's inputs on training rows, before training; x' = (x - mean) / scale has a mean square
norm of n. So a prior of W in units of logits (`FanIn`) means what it says for any network and pooling, and so does a
learning rate: a network whose features are ten times as large is the same network. The weight itself is W / scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from bayespeft.adapters.full import Full
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class Head(Full):
    """The layer's whole weight (m, n) and bias (m,), trained in standardised coordinates.

    Attributes:
        fresh: the layer's own values are random, so that training starts at outputs of zero instead.
    """

    measures: ClassVar[bool] = True
    fresh: bool = False

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """W and b, and the inputs' mean (n,) and scale (1,), fixed: 0 and 1 until they are measured."""
        return {
            **super().factors(layer, generator),
            "mean": Factor(torch.zeros(layer.in_features), "fixed"),
            "scale": Factor(torch.ones(1), "fixed"),
        }

    def measured(self, layer: Layer, inputs: Tensor) -> dict[str, Tensor]:
        """Return the coordinates of inputs (rows, n), and W and b in them: the same function, or zero if `fresh`."""
        x = inputs.double()
        bias = layer.bias()
        # A layer without a bias can't make up for a mean that is taken off.
        mean = torch.zeros_like(x[0]) if bias is None else x.mean(0)
        scale = (x - mean).square().mean().sqrt()
        if not scale > 0:
            scale = torch.ones_like(scale)
        weight = layer.weight().cpu().double()
        found = {"mean": mean, "scale": scale.reshape(1), "W": weight * scale}
        if bias is not None:
            found["b"] = bias.cpu().double() + weight @ mean
        zero = ("W", "b") if self.fresh else ()
        return {name: (torch.zeros_like(value) if name in zero else value).float() for name, value in found.items()}

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return W (x - mean) / scale + b; the layer's own output is not used."""
        centered = -factors["mean"].add(-x)
        return super().apply(factors, centered / factors["scale"].add(torch.zeros_like(x[..., :1])), y, layer)

    def layer(self, factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weight W / scale and the bias b - W mean / scale of the plain layer."""
        weight = factors["W"].double() / factors["scale"].double()
        plain = {"W": weight.to(factors["W"])}
        if "b" in factors:
            plain["b"] = (factors["b"].double() - weight @ factors["mean"].double()).to(factors["b"])
        return plain

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return W / scale - W0."""
        return super().delta(self.layer(factors), layer)


ADAPTER = Head
