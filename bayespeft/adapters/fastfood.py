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

_BITS = 5


def _small(bits: int) -> Tensor:
    """Return H of 2^bits rows."""
    matrix = torch.ones(1, 1)
    for _ in range(bits):
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), matrix)
    return matrix


# Made once here, because tensors that are made under a transformation such as vmap can't be kept.
_SMALL = tuple(_small(bits) for bits in range(_BITS + 1))


def _by_products(x: Tensor) -> Tensor:
    """Return H x by H = H_a (x) H_b (x) ...: a product with a small matrix for every few bits of the index."""
    shape, inner, left = x.shape, 1, x.shape[-1].bit_length() - 1
    while left:
        bits = min(left, _BITS)
        matrix = _SMALL[bits].to(x)
        parts = x.reshape(-1, 1 << bits, inner)
        x = parts[..., 0] @ matrix if inner == 1 else matrix @ parts
        inner, left = inner << bits, left - bits
    return x.reshape(shape)


def _by_additions(x: Tensor) -> Tensor:
    """Return H x by L log2 L additions."""
    for _ in range(x.shape[-1].bit_length() - 1):
        # Each pass transforms the lowest bit of the index and turns it into the highest: the last one restores the order.
        even, odd = x[..., 0::2], x[..., 1::2]
        x = torch.cat([even + odd, even - odd], -1)
    return x


def _transformed(x: Tensor) -> Tensor:
    if x.shape[-1] == 1:
        return x.clone()
    # Products are some four times as fast on a CPU; elsewhere, and where they may be rounded, additions stay exact.
    exact = x.dtype in (torch.float32, torch.float64) and torch.get_float32_matmul_precision() == "highest"
    if x.device.type != "cpu" or not exact:
        return _by_additions(x)
    with torch.autocast("cpu", enabled=False):
        return _by_products(x)


class _Hadamard(torch.autograd.Function):
    """H is symmetric, so its gradient is the same transform: half of the time that differentiating each addition takes."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return _transformed(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return hadamard(gradients[0])


class _Repeated(torch.autograd.Function):
    """(x, x, x, ...)[order]: the gradient is placed and added in two fast passes, in the place of one random addition each."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, order: Tensor) -> Tensor:
        return x.index_select(-1, order & (x.shape[-1] - 1))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, order = inputs
        ctx.save_for_backward(order)
        ctx.size = x.shape[-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        placed = torch.zeros_like(gradients[0]).index_copy(-1, order.long(), gradients[0])
        return placed.reshape(*placed.shape[:-1], -1, ctx.size).sum(-2), None


def hadamard(x: Tensor) -> Tensor:
    """Return H x over the last dimension (..., L), L a power of two; H of Sylvester's order, not normalised.

    L log2 L additions and no product, so that autocast and reduced-precision matrix products leave it alone; on a CPU, where
    products are exact, products with a small H.

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
        # The first transform is of theta and zeros, so that it is one of theta alone, again and again.
        short = 1 << (len(self.signs) - 1).bit_length()
        padding = theta.new_zeros(*theta.shape[:-1], short - len(self.signs))
        mixed = hadamard(torch.cat([theta * self.signs.to(theta), padding], -1))
        placed: Tensor = _Repeated.apply(mixed, self.order)  # type: ignore[no-untyped-call]
        return hadamard(placed * self.gains.to(theta))[..., : self.size]
