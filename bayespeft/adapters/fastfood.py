"""Fastfood: a random projection from d to D numbers in O(L log L) time and O(L) memory, L = 2^k >= max(D, d).

P = (H G Pi H B)[:D] / sqrt(D |g|^2), Le et al. 2013 (ICML, Fastfood: approximating kernel expansions in loglinear time),
without their rescaling S, as Li et al. 2018 (arXiv 1804.08838) use it: B random signs, H the Walsh-Hadamard matrix of L
rows, Pi a permutation, G = diag(g) of standard normals. E |P theta|^2 = |theta|^2 exactly: H is orthogonal up to sqrt(L),
Pi spreads |H B theta|^2 = L |theta|^2 evenly over g^2, and the signs of g over the outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class _Hadamard(torch.autograd.Function):
    """H is symmetric, so its gradient is the same transform: half of the time that differentiating each addition takes."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        for _ in range(x.shape[-1].bit_length() - 1):
            # Each pass transforms the lowest bit of the index and turns it into the highest: the last one restores the order.
            even, odd = x[..., 0::2], x[..., 1::2]
            x = torch.cat([even + odd, even - odd], -1)
        return x.clone() if x.shape[-1] == 1 else x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return hadamard(gradients[0])


def hadamard(x: Tensor) -> Tensor:
    """Return H x over the last dimension (..., L), L a power of two; H of Sylvester's order, not normalised.

    L log2 L additions and no product, so that autocast and reduced-precision matrix products leave it alone.

    Raises:
        ValueError: L is no power of two.
    """
    size = x.shape[-1]
    if size & (size - 1) or not size:
        raise ValueError(f"a Walsh-Hadamard transform needs a power of two of numbers, not {size}")
    transformed: Tensor = _Hadamard.apply(x)  # type: ignore[no-untyped-call]
    return transformed


@dataclass(frozen=True, slots=True)
class Fastfood:
    """The projection's random part, 8 L + d bytes.

    Attributes:
        signs: B (d,), +1 or -1; the padding beyond d needs none.
        order: Pi (L,), int32.
        gains: G and all scales (L,).
        size: D.
    """

    signs: Tensor
    order: Tensor
    gains: Tensor
    size: int

    @classmethod
    def draw(cls, d: int, size: int, seed: int, device: torch.device) -> Fastfood:
        """Draw a projection of d numbers to `size`: the same for a seed on every device."""
        generator = torch.Generator().manual_seed(seed)
        length = 1 << (max(d, size) - 1).bit_length()
        signs = torch.randint(0, 2, (d,), generator=generator, dtype=torch.int8).mul_(2).sub_(1)
        order = torch.randperm(length, generator=generator, dtype=torch.int32)
        gains = torch.randn(length, generator=generator)
        gains /= math.sqrt(size) * gains.norm()
        return cls(signs.to(device), order.to(device), gains.to(device), size)

    def __call__(self, theta: Tensor) -> Tensor:
        """Return P theta (..., D), of theta (..., d)."""
        padding = theta.new_zeros(*theta.shape[:-1], len(self.order) - len(self.signs))
        mixed = hadamard(torch.cat([theta * self.signs.to(theta), padding], -1))
        return hadamard(mixed.index_select(-1, self.order) * self.gains.to(theta))[..., : self.size]
