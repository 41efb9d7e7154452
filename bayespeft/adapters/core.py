"""Core: y = W0 x + s B C A x with an r x r core C, s = alpha / r.

Me-LoRA (ICLR 2025 submission). The start is mean C = I and B = 0: the network equals the base for every draw of C, and
B's first gradient is LoRA's; C = 0 and B = 0 together would be a dead start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bayespeft.adapters.base import Adapter, low_rank_points
from bayespeft.adapters.frames import product_svd
from bayespeft.adapters.low_rank import LowRank
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight

# Of the largest singular value of a LoRA: a direction below it counts as one that is not used yet.
_LEAST = 1e-3


class Core(LowRank):
    """Low-rank adaptation with a latent r x r core; settings as `LowRank`.

    Attributes:
        anchored: the prior of A is centered at its start, not at zero. Priors of A and of B that are both centered at zero
            penalise the nuclear norm of B A, under which directions of little gain stay at zero; and as long as nothing is
            learned, the prior alone moves A, to zero.
    """

    anchored: bool = False

    @property
    def anchors(self) -> frozenset[str]:
        """A, where it is anchored."""
        return frozenset({"A"}) if self.anchored else frozenset()

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """A (r, n) as LoRA's; B = 0 (m, r); C (r, r) starts, and has its prior centered, at the identity."""
        eye = torch.eye(self.r)
        points = low_rank_points(self.r, layer, generator)
        if self.anchored:
            points["A"] = replace(points["A"], center=points["A"].init)
        return {**points, "C": Factor(eye, "latent", center=eye)}

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + s B C A x."""
        return y + self.scaled(factors["B"], factors["C"].linear(factors["A"].linear(x)))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return s B C A."""
        return self.scaling * factors["B"] @ factors["C"] @ factors["A"]

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return A, B C and s."""
        return factors["A"], factors["B"] @ factors["C"], self.scaling

    def from_lora(self, a: Tensor, b: Tensor, scale: float) -> tuple[Adapter, dict[str, Tensor]] | None:
        """Return B = U R, A = Q V^T and C = I in the frame of s B A = s U S V^T, with R Q = S, both the root of S.

        A LoRA does not change if its channels are turned among each other, but what is drawn between them would: singular
        vectors are one frame for all of these. A direction that the LoRA has not begun to use keeps an A, so that it can be
        learned: there Q is not the root.
        """
        # An adapter that stands on this one has frames of its own.
        if self.kind != "core":
            return None
        left, values, right = product_svd(b, a)
        least = _LEAST * float(values.max()) or right.shape[1] ** -0.5
        root = values.clamp_min(least).sqrt()
        adapter = self.replace(r=len(values), alpha=scale * len(values))
        return adapter, {"A": root[:, None] * right, "B": left * (values / root), "C": torch.eye(len(values))}


ADAPTER = Core
