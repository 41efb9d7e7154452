"""Singular triplets of a layer's weight, chosen at random or by size: where ROSA and its relatives train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from bayespeft.adapters.framed import Framed
from bayespeft.adapters.frames import Frames, full_svd, truncated_svd
from bayespeft.errors import AttachError
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer

# A randomised decomposition finds only the leading triplets: it is asked for this many times the number that is trained.
POOL = 4


class Subspace(Framed):
    """Settings of adapters that train inside a subspace of the weight, merge, and choose another one.

    Attributes:
        r: triplets that are trained, at most the smaller side of the layer.
        every: re-split after so many `unit`s; None: never.
        unit: "epochs" or "steps" (of the optimiser).
        triplets: "uniform" (a subset of all, each equally likely), "top", "bottom", or "window" (the official code's: a
            contiguous window that never holds the smallest triplet).
        start: "svd" (the chosen triplets themselves) or "zero" (B = 0, A their right singular vectors).
        factorisation: "exact", or "randomised" (Halko et al. 2011): then only the leading 4 r triplets are found, and
            chosen from.
        orthogonalise: write the change that is merged in orthonormal frames, and drop what is numerically zero: the same
            function, a shorter history.
        keep_original: leave the network's weights as they were after the fit, at the cost of a copy of each layer.
    """

    every: int | None = Field(default=1, ge=1)
    unit: Literal["epochs", "steps"] = "epochs"
    triplets: Literal["uniform", "top", "bottom", "window"] = "uniform"
    start: Literal["svd", "zero"] = "svd"
    factorisation: Literal["exact", "randomised"] = "exact"
    orthogonalise: bool = False
    keep_original: bool = False

    @model_validator(mode="after")
    def _check_bottom(self) -> Subspace:
        if self.factorisation == "randomised" and self.triplets == "bottom":
            raise ValueError("a randomised factorisation finds leading triplets only: triplets='bottom' needs 'exact'")
        return self

    def merge_interval(self, steps_per_epoch: int) -> int | None:
        """Return the steps between two splits."""
        if self.every is None:
            return None
        return self.every * (steps_per_epoch if self.unit == "epochs" else 1)

    def split(self, layer: Layer, generator: torch.Generator) -> Frames:
        """Return the chosen triplets of the layer's weight as it is now.

        Raises:
            AttachError: r is larger than the smaller side of the layer, or its weight can't be read or merged into.
        """
        layer.check_mergeable()
        smaller = min(layer.in_features, layer.out_features)
        if self.r > smaller:
            raise AttachError(
                f"layer '{layer.name}' is {layer.out_features} x {layer.in_features} and has {smaller} singular triplets, "
                f"fewer than r={self.r}. Set r to at most {smaller}, or leave the layer out of targets=."
            )
        if self.factorisation == "exact":
            found = full_svd(layer.weight())
        else:
            found = truncated_svd(layer.weight(), min(POOL * self.r, smaller), generator, layer, exact_up_to=0)
        chosen = self._choose(len(found.values), generator)
        return Frames(found.left[:, chosen], found.values[chosen], found.right[chosen])

    def _choose(self, count: int, generator: torch.Generator) -> Tensor:
        if self.triplets == "top":
            return torch.arange(self.r)
        if self.triplets == "bottom":
            return torch.arange(count - self.r, count)
        if self.triplets == "window":
            # The official randint excludes its upper end: one window fewer than there are, and none for r = count.
            first = int(torch.randint(max(count - self.r, 1), (), generator=generator))
            return torch.arange(first, first + self.r)
        return torch.randperm(count, generator=generator)[: self.r].sort().values

    def low_rank_change(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor]:
        """Return left (m, k) and right (k, n) with `delta` = left @ right; as U S and V^T where `orthogonalise` says so."""
        left, right = super().low_rank_change(factors, layer)
        if not self.orthogonalise:
            return left, right
        (rows, upper), (columns, lower) = torch.linalg.qr(left), torch.linalg.qr(right.mT)
        u, values, v = torch.linalg.svd(upper @ lower.mT, full_matrices=False)
        kept = values > torch.finfo(values.dtype).eps * values.max()
        return rows @ (u * values)[:, kept], v[kept] @ columns.mT

    def around(self, frames: Frames) -> dict[str, Factor]:
        """Return trained A (r, n) and B (m, r); for an "svd" start also what they start from, fixed, as A0 and B0.

        The priors of A, and of B of an "svd" start, are centered at their start.
        """
        left, values, right = frames
        if self.start == "zero":
            return {"A": Factor(right, "point", center=right), "B": Factor(torch.zeros_like(left), "point")}
        root = values.sqrt()
        a, b = root[:, None] * right, left * root
        return {
            "A": Factor(a, "point", center=a),
            "B": Factor(b, "point", center=b),
            "A0": Factor(a, "fixed"),
            "B0": Factor(b, "fixed"),
        }
