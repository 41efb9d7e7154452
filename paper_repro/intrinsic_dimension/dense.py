"""The random projection that Fastfood stands for: a dense matrix of D d independent normals."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bayespeft.adapters.intrinsic import Intrinsic
from bayespeft.layers.layer import Layer


class Dense(Intrinsic):
    """`Intrinsic` with a dense P of independent normals, 4 D d bytes, in the place of Fastfood."""

    def _projection(self, layer: Layer, device: torch.device) -> Any:
        return projection(layer.name, layer.in_features * layer.out_features, self.d, self.seed)


def projection(name: str, size: int, d: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Return P of a layer, from (..., d) to (..., size); columns have norm 1 in expectation, as Fastfood's.

    Those of another d or seed are forgotten: together they would not fit into memory.
    """
    if any(key[1:] != (d, seed) for key in _DRAWN):
        _DRAWN.clear()
    key = (name, d, seed)
    if key not in _DRAWN or _DRAWN[key].shape[0] != size:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        _DRAWN[key] = torch.randn(size, d, generator=generator).div_(size**0.5)
    matrix = _DRAWN[key]
    return lambda theta: theta @ matrix.T


_DRAWN: dict[tuple[str, int, int], Tensor] = {}
