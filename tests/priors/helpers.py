"""A law whose prior is learned."""

from __future__ import annotations

import torch

from bayespeft.gaussians import Diagonal, Full

SHAPE = (3, 2, 4)


def a_q(seed: int, families: str = "diagonal"):
    generator = torch.Generator().manual_seed(seed)
    loc = torch.randn(SHAPE, generator=generator, dtype=torch.double, requires_grad=True)
    if families == "diagonal":
        std = (0.1 + torch.rand(SHAPE, generator=generator, dtype=torch.double)).requires_grad_()
        return Diagonal(loc, std), (loc, std)
    raw = torch.randn(3, 8, 8, generator=generator, dtype=torch.double).tril(-1)
    tril = (raw + torch.diag_embed(0.3 + torch.rand(3, 8, generator=generator, dtype=torch.double))).requires_grad_()
    return Full(loc, tril), (loc, tril)


CENTER = torch.full(SHAPE, 0.5, dtype=torch.double)
