"""Random subspace: W = W_fixed + B A with B A a few singular triplets of W, trained, merged, and chosen anew.

ROSA (Hameed and Rabusseau 2023): B = U_r S_r^1/2, A = S_r^1/2 V_r^T for r random triplets of W = U S V^T, re-split every
epoch, so that many subspaces are visited one after the other with the memory of one. W_fixed = W - B0 A0 is never formed:
the layer runs as it is, B A x - B0 A0 x is added, which starts at exactly zero and leaves W a usable weight at all times.
Not to be confused with RoSA, sparse + low-rank, which is `sparse_low_rank`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bayespeft.adapters.subspace import Subspace
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class RandomSubspace(Subspace):
    """The change B A - B0 A0 of a layer; settings as `Subspace`."""

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + B A x - B0 A0 x."""
        if "B0" not in factors:
            return y + factors["B"].linear(factors["A"].linear(x))
        # As (B - B0) A + B0 (A - A0): two large products would cancel, and in half precision leave noise.
        moved = factors["B"].minus(factors["B0"]).linear(factors["A"].linear(x))
        return y + moved + factors["B0"].linear(factors["A"].minus(factors["A0"]).linear(x))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return B A - B0 A0, relative to the layer's weight as it is now."""
        change = factors["B"] @ factors["A"]
        return change - factors["B0"] @ factors["A0"] if "B0" in factors else change

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return the factors of the change, of rank r or 2 r, with scale 1."""
        if "B0" not in factors:
            return factors["A"], factors["B"], 1.0
        return torch.cat([factors["A"], factors["A0"]]), torch.cat([factors["B"], -factors["B0"]], dim=1), 1.0


ADAPTER = RandomSubspace
