"""Orthonormal core: y = W0 x + s Q(B) C Q(A^T)^T x, where Q(.) has orthonormal columns: frames turn, but can't stretch.

In W0 + s B C A, B can grow while C shrinks, which leaves the network alone and changes the KL of C. Here B and A enter
through their orthonormal frames only, so that the scale of the change, and its uncertainty, is in C and nowhere else:
KL(q(C) || p(C)) is the KL of the weights at every step. A combination of this package; the frames start as in LoRA-XS
(arXiv 2405.17604), and Cholesky QR is in `bayespeft.adapters.frames`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bayespeft.adapters.framed import Framed
from bayespeft.adapters.frames import Frames, orthonormal_columns, orthonormal_rows
from bayespeft.adapters.low_rank import LowRank
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class OrthonormalCore(Framed, LowRank):
    """A latent core between trained orthonormal frames.

    Attributes:
        r: rank, at most the smaller side of the layer; C is r x r.
        alpha: numerator of the scale s = alpha / r.
    """

    def around(self, frames: Frames) -> dict[str, Factor]:
        """A (r, n) and B (m, r) start at W0's leading singular vectors; C = 0 (r, r), its prior centered there.

        The priors of A and B are centered at their start: at zero, a frame has no direction.
        """
        left, _, right = frames
        return {
            "A": Factor(right, "point", center=right),
            "B": Factor(left, "point", center=left),
            "C": Factor(torch.zeros(self.r, self.r), "latent"),
        }

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + s Q(B) C Q(A^T)^T x."""
        a, b = factors["A"].values(), factors["B"].values()
        rows, columns = replace(a, value=orthonormal_rows(a.value)), replace(b, value=orthonormal_columns(b.value))
        return y + self.scaled(columns, factors["C"].linear(rows.linear(x)))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return s Q(B) C Q(A^T)^T."""
        scaled = self.scaling * orthonormal_columns(factors["B"])
        return scaled @ factors["C"] @ orthonormal_rows(factors["A"])

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return Q(A^T)^T, Q(B) C and s."""
        return orthonormal_rows(factors["A"]), orthonormal_columns(factors["B"]) @ factors["C"], self.scaling


ADAPTER = OrthonormalCore
