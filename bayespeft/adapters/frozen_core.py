"""Frozen core: y = W0 x + s B C A x with B and A fixed from the SVD of W0 = U S V^T, and only the r x r core C trained.

LoRA-XS (Bałazy et al. 2024, arXiv 2405.17604), B = U_r S_r and A = V_r^T; B-LoRA-XS (arXiv 2502.12122) makes C uncertain.
With both frames fixed, C = 0 is a live start, and nothing can absorb C's scale: its KL is that of the weights.
"""

from __future__ import annotations

from typing import Literal

import torch

from bayespeft.adapters.core import Core
from bayespeft.adapters.framed import Framed
from bayespeft.adapters.frames import Frames
from bayespeft.factors import Factor


class FrozenCore(Framed, Core):
    """A latent core between the layer's own leading singular vectors: `Core` with other factors, s B C A as ever.

    Attributes:
        r: rank, at most the smaller side of the layer; C is r x r.
        alpha: numerator of the scale s = alpha / r.
        spectrum: "singular" (B = U_r S_r, as LoRA-XS) or "unit" (B = U_r): whether a direction counts in proportion
            to its singular value, or all count alike.
    """

    spectrum: Literal["singular", "unit"] = "singular"

    def around(self, frames: Frames) -> dict[str, Factor]:
        """A (r, n) and B (m, r), fixed, are W0's leading singular vectors; C = 0 (r, r), its prior centered there."""
        left, values, right = frames
        return {
            "A": Factor(right, "fixed"),
            "B": Factor(left * values if self.spectrum == "singular" else left, "fixed"),
            "C": Factor(torch.zeros(self.r, self.r), "latent"),
        }


ADAPTER = FrozenCore
