"""Sparse + low-rank (RoSA): y = W0 x + S x + s B A x with a sparse S on a fixed mask, s = alpha / r.

Nikdan et al. 2024, arXiv 2401.04679, eq. 3. The mask is, for each layer, the int(density m n) elements (at least one) where
the dense weight's gradients, added up while the low-rank part trains alone, are largest (Algorithm 1); S is not scaled. S can
raise the rank of the change beyond r; its values, and a core C between B and A, may be latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from bayespeft.adapters.base import WarmUp, low_rank_points
from bayespeft.adapters.low_rank import LowRank
from bayespeft.errors import FitError
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight

# Each rule for the mask adds up the gradients in its own way.
_SUMS: dict[str, Literal["signed", "absolute", "squared"]] = {
    "mean_squared": "squared",
    "mean": "signed",
    "mean_absolute": "absolute",
}


class SparseLowRank(LowRank):
    """Sparse plus low-rank adaptation; with r = 0 sparse alone, with density = 0 low-rank alone.

    Attributes:
        r: rank of the low-rank part.
        alpha: numerator of its scale s = alpha / r.
        density: part of the m n elements of each layer's weight that S may change: int(density m n), at least one.
        mask: where they are: "mean_squared" (the largest sums of squared gradients, the diagonal of the empirical Fisher
            matrix), "mean" (the largest absolute values of the mean gradient), both as the official code has them,
            "mean_absolute" (the largest means of absolute gradients), or "random". Over one gradient all but the last agree.
        mask_steps: steps that the low-rank part, and a fresh head, are trained for before gradients are looked at; none are
            taken where there is neither.
        mask_gradients: steps after these, training going on, over which gradients are added up.
        scale: S is this times the trained values. 1 is the paper's; with another one latent values and a latent core, whose
            natural sizes differ, can share one prior and one initial spread.
        latent: which of "values" (the non-zeros of S) and "C" (r x r, s B C A, there only if named) are latent. The prior of
            the values is centered at zero, that of C at the identity.
    """

    r: int = Field(default=8, ge=0)  # here 0 means that there is none
    density: float = Field(default=0.003, ge=0, le=1)
    mask: Literal["mean_squared", "mean", "mean_absolute", "random"] = "mean_squared"
    mask_steps: int = Field(default=64, ge=0)
    mask_gradients: int = Field(default=1, ge=1)
    scale: float = Field(default=1.0, gt=0)
    latent: tuple[Literal["values", "C"], ...] = ()

    @model_validator(mode="after")
    def _check_parts(self) -> SparseLowRank:
        if not self.r and not self.density:
            raise ValueError("r=0 and density=0 leave nothing to learn")
        if (not self.r and "C" in self.latent) or (not self.density and "values" in self.latent):
            raise ValueError("latent 'C' needs r above 0, latent 'values' a density above 0")
        return self

    def nonzeros(self, layer: Layer) -> int:
        """Return k, the number of elements that S may change: int(density m n), at least one; 0 for density = 0."""
        # The small addend undoes rounding: 0.29 * 100 is slightly below 29, and int() would make it 28.
        return max(1, int(self.density * layer.out_features * layer.in_features + 1e-6)) if self.density else 0

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """A (r, n) as LoRA's, B = 0 (m, r), C = I (r, r); values = 0 (k,) at flat positions `index` (k,), ascending.

        Positions are random until `warmed_up` says where the gradients are large.
        """
        factors: dict[str, Factor] = {}
        if self.r:
            factors |= low_rank_points(self.r, layer, generator)
        if "C" in self.latent:
            factors["C"] = Factor(torch.eye(self.r), "latent", center=torch.eye(self.r))
        if self.density:
            k = self.nonzeros(layer)
            factors["values"] = Factor(torch.zeros(k), "latent" if "values" in self.latent else "point")
            factors["index"] = Factor(_random_positions(k, layer, generator), "fixed")
        return factors

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + S x + s B C A x, of the factors that are there."""
        if "A" in factors:
            channels = factors["A"].linear(x)
            if "C" in factors:
                channels = factors["C"].linear(channels)
            y = y + self.scaled(factors["B"], channels)
        if "values" in factors:
            pattern = factors["index"].pattern(layer.out_features, layer.in_features)
            change = factors["values"].sparse(x, pattern).to(y)
            # No second array of outputs where there is nothing to scale.
            y = y + (change if self.scale == 1 else self.scale * change)
        return y

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return S + s B C A."""
        m, n = layer.out_features, layer.in_features
        change = torch.zeros(m, n).to(next(iter(factors.values())))
        if "A" in factors:
            change = self.scaling * _left(factors) @ factors["A"]
        if "values" in factors:
            values = self.scale * factors["values"]
            change = change + values.new_zeros(m * n).scatter(0, factors["index"].long(), values).reshape(m, n)
        return change

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float] | None:
        """Return A, B C and s where there is no sparse part; with one the change has no low-rank form."""
        return None if self.density else (factors["A"], _left(factors), self.scaling)

    def warm_up(self) -> WarmUp | None:
        """Ask for gradients of the dense weight while the low-rank part trains."""
        if not self.density or self.mask == "random":
            return None
        return WarmUp(self.mask_steps, self.mask_gradients, _SUMS[self.mask], ("values", "index"))

    def warmed_up(self, layer: Layer, gradients: Tensor) -> dict[str, Tensor]:
        """Return the positions of the k largest accumulated gradients, in absolute value.

        Raises:
            FitError: a gradient is not finite.
        """
        if not torch.isfinite(gradients).all():
            raise FitError(
                f"layer '{layer.name}': gradients over the warm-up are not finite, so no mask can be chosen. Lower lr, set "
                "precision='float32', or take mask='random'."
            )
        return {"index": top_positions(gradients.abs(), self.nonzeros(layer))}


def top_positions(scores: Tensor, k: int) -> Tensor:
    """Return the flat positions (k,) of the k largest elements, ascending; of equal ones the first are taken."""
    flat = scores.flatten()
    least = flat.topk(k).values[-1]
    above = (flat > least).nonzero()[:, 0]
    ties = (flat == least).nonzero()[: k - len(above), 0]
    return torch.cat([above, ties]).sort().values


def _left(factors: Mapping[str, Tensor]) -> Tensor:
    return factors["B"] @ factors["C"] if "C" in factors else factors["B"]


def _random_positions(k: int, layer: Layer, generator: torch.Generator) -> Tensor:
    """Draw k of the m n positions, ascending, without a list of all of them."""
    seed = int(torch.randint(2**62, (1,), generator=generator))
    chosen = np.random.default_rng(seed).choice(layer.out_features * layer.in_features, k, replace=False, shuffle=False)
    return torch.from_numpy(np.sort(chosen))


ADAPTER = SparseLowRank
