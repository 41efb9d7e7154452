"""A layer of any shape, values for an adapter's factors in double precision, and moments of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import jacrev

from bayespeft.adapters.base import Adapter
from bayespeft.layers.layer import Layer, all_layers


def a_layer(m: int, n: int, seed: int = 0, *, bias: bool = False) -> Layer:
    """A linear layer (m, n) called "layer.0"."""
    layer = nn.Linear(n, m, bias=bias)
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        parameter.data.normal_(generator=generator)
    return all_layers(nn.ModuleDict({"layer": nn.Sequential(layer)}))["layer.0"]


def random_values(adapter: Adapter, layer: Layer, seed: int = 0) -> dict[str, Tensor]:
    """Initial values of every factor, moved at random; fixed ones stay. Double precision."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: factor.init.double()
        + (factor.role != "fixed") * torch.randn(factor.init.shape, generator=generator, dtype=torch.double)
        for name, factor in adapter.factors(layer, generator).items()
    }


def vec(w: Tensor) -> Tensor:
    """Stack the columns of a matrix (m, n): (m n,)."""
    return w.mT.flatten()


def covariance(adapter: Adapter, values: dict[str, Tensor], latent: str, std: Tensor, layer: Layer) -> Tensor:
    """Cov(vec(delta)) (m n, m n), where only the factor `latent` is random, N(value, std^2), and delta is linear in it."""
    jacobian = jacrev(lambda value: vec(adapter.delta({**values, latent: value}, layer)))(values[latent])
    jacobian = jacobian.flatten(1) * std.flatten()
    return jacobian @ jacobian.T
