"""Variational last layer: q over the output layer alone, fitted by a bound that draws nothing.

Harrison, Willes & Snoek 2024, arXiv 2404.11599. With q(W) = prod_k N(w_k, S_k) and features x, the outputs are Gaussian with
means m_k = w_k x and variances v_k = x^T S_k x, and the expected log-likelihood of classes is at least, by Jensen,

    E_q[ln softmax(W x)_y] >= m_y - ln sum_k exp(m_k + v_k / 2)

(theorem 2 there); of quantities it is known, ln N(y; m, noise^2) - v / (2 noise^2) (theorem 1). A pass gives m and v, so that
neither the objective nor a prediction has draws of the network: the linearised prediction, exact for a linear layer, is
E softmax of logits ~ N(m, diag v).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import nn

from bayespeft.errors import GuideError
from bayespeft.gaussians import Diagonal, PackedGaussian, Rows
from bayespeft.guides.base import Covers, GuideSpec, Noise
from bayespeft.guides.gaussian import BYTES, GaussianGuide, scale_tril
from bayespeft.layers.factors import StackedFactor
from bayespeft.layers.moments import GaussianWeight

# ln of the standard deviation that the paper's code gives the noise on logits at the start, on average.
_BIAS = -1.0


class LastLayerGuide(GaussianGuide):
    """Independent Gaussians for the rows of the output layer's weight, independent normals for its bias."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: VariationalLastLayer) -> None:
        super().__init__(stacks)
        self.dense = spec.covariance == "dense"
        self.raw = nn.ParameterDict()
        for stack in stacks:
            matrix = stack.init.dim() > 2
            log_std = torch.full(stack.init.shape, -math.log(stack.init.shape[-1]) if matrix else _BIAS)
            self.raw[stack.name] = nn.Parameter(torch.diag_embed(log_std) if matrix and self.dense else log_std)

    def family(self, name: str) -> PackedGaussian:
        """N(mean, L L^T) of each row, or N(mean, std^2) of each element."""
        raw = self.raw[name]
        if raw.dim() > self.loc[name].dim():
            return Rows(self.loc[name], scale_tril(raw))
        return Diagonal(self.loc[name], raw.exp())

    def moments(self, name: str) -> list[GaussianWeight]:
        """Return the weight of each layer of a stack as mean and root of its covariance.

        Raises:
            GuideError: the head is several layers.
        """
        layers = sorted({layer for stack in self.stacks for layer in stack.layers})
        if len(layers) > 1:
            raise GuideError(
                f"a variational last layer is one linear layer, and this network trains {len(layers)} layers as its head "
                f"({', '.join(layers)}): behind what is not linear there are no moments in closed form. Use "
                "'laplace_last_layer'."
            )
        family = self.family(name)
        root = family.scale_tril if isinstance(family, Rows) else family.std
        return [GaussianWeight(mean, own) for mean, own in zip(self.loc[name], root, strict=True)]


class VariationalLastLayer(GuideSpec):
    """A Gaussian over a freshly made linear head; adapters stay points.

    Attributes:
        covariance: of each row of the weight: "dense", n^2 numbers a class for n features, or "diagonal".
    """

    covers: ClassVar[Covers] = "head"
    prediction: ClassVar[Literal["sampled", "linearised"]] = "linearised"
    remedy: ClassVar[str] = "Use covariance='diagonal'."
    noise: Noise = "batch"
    covariance: Literal["dense", "diagonal"] = "dense"

    @property
    def diagonal(self) -> bool:
        """Whether elements are uncorrelated."""
        return self.covariance == "diagonal"

    def memory(self, stacks: Sequence[StackedFactor]) -> Mapping[str, int]:
        """Return the bytes of the covariances."""
        wide = [stack for stack in stacks if stack.init.dim() > 2 and not self.diagonal]
        return {stack.name: BYTES * stack.init.numel() * stack.init.shape[-1] for stack in wide}

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> LastLayerGuide:
        """Means start at the factors' initial values, standard deviations at 1 / n for n features, as in the paper's code."""
        return LastLayerGuide(stacks, self)


GUIDE = VariationalLastLayer
