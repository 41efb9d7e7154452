"""Scaled rows: y = W0 x + s B diag(z) V x with r scales z, s = alpha / r.

ScalaBL (Samplawski et al. 2025, arXiv 2506.21408). One number for each rank-1 direction b_k v_k^T is uncertain, r a layer:
the smallest of the low-rank posteriors. (U, z, V) is the SVD of a fresh LoRA A; U is absorbed by B, which starts at 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bayespeft.adapters.base import kaiming_rows
from bayespeft.adapters.frames import truncated_svd
from bayespeft.adapters.low_rank import LowRank
from bayespeft.layers.factors import Factor
from bayespeft.layers.layer import Layer
from bayespeft.layers.weights import Weight


class ScaledRows(LowRank):
    """Low-rank adaptation with a latent scale for each channel; settings as `LowRank`, r at most the layer's inputs."""

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        """V (r, n) and z (r,) are the right singular vectors and the singular values of LoRA's A; B = 0 (m, r).

        The prior of z is centered at zero.

        Raises:
            AttachError: r is larger than the layer's number of inputs.
        """
        _, values, right = truncated_svd(kaiming_rows(self.r, layer.in_features, generator), self.r, generator, layer)
        return {
            "V": Factor(right, "point"),
            "B": Factor(torch.zeros(layer.out_features, self.r), "point"),
            "z": Factor(values, "latent"),
        }

    def apply(self, factors: Mapping[str, Weight], x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        """Return y + s B diag(z) V x."""
        return y + self.scaled(factors["B"], factors["z"].mul(factors["V"].linear(x)))

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        """Return s B diag(z) V."""
        return self.scaling * (factors["B"] * factors["z"]) @ factors["V"]

    def to_lora(self, factors: Mapping[str, Tensor], layer: Layer) -> tuple[Tensor, Tensor, float]:
        """Return diag(z) V, B and s."""
        return factors["z"][:, None] * factors["V"], factors["B"], self.scaling


ADAPTER = ScaledRows
