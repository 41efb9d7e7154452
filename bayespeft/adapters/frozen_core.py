"""Frozen core: y = W0 x + s B C A x with B and A fixed from the SVD of W0 = U S V^T, and only the r x r core C trained.

LoRA-XS (Bałazy et al. 2024, arXiv 2405.17604) writes B = U_r S_r and A = V_r^T; its code, and that of B-LoRA-XS (arXiv
2502.12122), which makes C uncertain, decompose W0^T and so have B = U_r and A = S_r V_r^T: the spectrum scales C's columns,
not its rows. Here it is the code's.
With both frames fixed, C = 0 is a live start, and nothing can absorb C's scale: its KL is that of the weights.
"""

from __future__ import annotations

from typing import Literal

import torch

from bayespeft.adapters.core import Core
from bayespeft.adapters.framed import Framed
from bayespeft.adapters.frames import Frames
from bayespeft.layers.factors import Factor


class FrozenCore(Framed, Core):
    """A latent core between the layer's own leading singular vectors: `Core` with other factors, s B C A as ever.

    Attributes:
        r: rank, at most the smaller side of the layer; C is r x r.
        alpha: numerator of the scale s = alpha / r.
        spectrum: "singular" (A = S_r V_r^T, as the code of LoRA-XS) or "unit" (A = V_r^T): whether a direction counts in
            proportion to its singular value, or all count alike.
    """

    spectrum: Literal["singular", "unit"] = "singular"

    def around(self, frames: Frames) -> dict[str, Factor]:
        """A (r, n) and B (m, r), fixed, are W0's leading singular vectors; C = 0 (r, r), its prior centered there."""
        left, values, right = frames
        return {
            "A": Factor(values[:, None] * right if self.spectrum == "singular" else right, "fixed"),
            "B": Factor(left, "fixed"),
            "C": Factor(torch.zeros(self.r, self.r), "latent"),
        }


ADAPTER = FrozenCore
