"""Subspace core: W = W_fixed + B C A with a latent r x r core C between the factors of ROSA's current subspace.

A combination of this package: Me-LoRA's core (Bayes over r^2 numbers a layer) in ROSA's random subspace. At a merge the
posterior mean B E[C] A goes into the weight and the next subspace starts at C = I. Of the posterior's spread that part is
carried over which the new subspace can express: with P = B'^+ B and Q = A A'^+, a deviation dC becomes P dC Q, of which a
mean-field guide keeps the variances, (P o P) var (Q o Q). Directions that the old subspace did not reach start with the
initial variance, in proportion to how little of them it covered. What lies in no current direction is a point from then on:
the posterior is over the current subspace, given all earlier means.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bayespeft.adapters.frames import Frames
from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Shared, Weight


class SubspaceCore(RandomSubspace):
    """The change B C A - B0 A0 of a layer; settings as `Subspace`."""

    def around(self, frames: Frames) -> dict[str, Factor]:
        """As `RandomSubspace`, and C (r, r), latent, which starts, and has its prior centered, at the identity."""
        eye = torch.eye(self.r)
        return {**super().around(frames), "C": Factor(eye, "latent", center=eye)}

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + B C A x - B0 A0 x."""
        channels = factors["A"].linear(x)
        mixed = factors["C"].linear(channels)
        if "B0" not in factors:
            return y + factors["B"].linear(mixed)
        # As (B - B0) C A + B0 ((C - I) A + A - A0): two large products would cancel, and in half precision leave noise.
        identity = Shared(torch.eye(self.r, device=x.device))
        turned = factors["C"].minus(identity).linear(channels) + factors["A"].minus(factors["A0"]).linear(x)
        return y + factors["B"].minus(factors["B0"]).linear(mixed) + factors["B0"].linear(turned)

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return B C A - B0 A0, relative to the layer's weight as it is now."""
        return super().delta(_merged_core(factors), layer)

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return the factors of the change, of rank r or 2 r, with scale 1."""
        return super().to_lora(_merged_core(factors), layer)

    def carried(
        self, name: str, variance: Tensor, initial: float, old: Mapping[str, Tensor], new: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the variance of the new C (r, r): see the module's text."""
        p = torch.linalg.pinv(new["B"]) @ old["B"]
        q = old["A"] @ torch.linalg.pinv(new["A"])
        rows = _coverage(new["B"], old["B"])
        columns = _coverage(new["A"].mT, old["A"].mT)
        kept: Tensor = p.square() @ variance @ q.square()
        return kept + (1 - rows[:, None] * columns) * initial


def _merged_core(factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {**factors, "B": factors["B"] @ factors["C"]}


def _coverage(new: Tensor, old: Tensor) -> Tensor:
    """Return how much of each column of `new` (d, r) lies in the span of `old` (d, r), between 0 and 1: (r,)."""
    # A rank-revealing projection: trained columns may have become dependent, those of a zero start are zero.
    left, values, _ = torch.linalg.svd(old, full_matrices=False)
    basis = left * (values > 1e-6 * values.max().clamp_min(1e-30))
    inside = (basis.mT @ new).square().sum(0)
    total = new.square().sum(0)
    return torch.where(total > 0, (inside / total.clamp_min(1e-30)).clamp(0, 1), 0.0)


ADAPTER = SubspaceCore
