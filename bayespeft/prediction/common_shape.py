"""Covariances of logits that have one shape: of an example, one backward pass then tells the size, instead of K the whole.

How the logits of an example vary together is decided by the layers that they come from, and much the same for all examples; how
much, is not. R is the mean covariance of some examples, each in units of its trace. Of any other example the variance
v = g^T J Sigma J^T g is measured along one direction g, and s R is taken for J Sigma J^T, with s = v / g^T R g: exact where
covariances differ by their size alone. g is the direction that moves the probabilities p most, H u, with H = diag(p) - p p^T,
and u the leading eigenvector of H R H.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# So much of a law of equal probabilities is mixed in: none that is certain of a class moves in any direction.
MIXED = 1e-6


@dataclass(frozen=True, slots=True)
class CommonShape:
    """The shape R of covariances.

    Attributes:
        matrix: R, (K, K) float64, on the CPU; 0 where nothing varies.
    """

    matrix: Tensor

    @classmethod
    def of(cls, covariances: Tensor) -> CommonShape:
        """Return the mean of some examples' covariances (n, K, K), each in units of its trace."""
        size = covariances.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
        return cls(torch.where(size > 0, covariances / size, 0).mean(0))

    def directions(self, logits: Tensor) -> Tensor:
        """Return the direction that moves each example's probabilities most, (n, K) float64 of length 1, for logits (n, K)."""
        classes = logits.shape[-1]
        p = torch.softmax(logits.double().cpu(), -1) * (1 - MIXED) + MIXED / classes
        curvature = torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)
        _, vectors = torch.linalg.eigh(curvature @ self.matrix @ curvature)
        return torch.nn.functional.normalize((curvature @ vectors[..., -1:]).squeeze(-1), dim=-1)

    def sized(self, directions: Tensor, variances: Tensor) -> Tensor:
        """Return s R, (n, K, K), of examples whose logits have these variances (n,) along these directions (n, K)."""
        along = torch.einsum("nk,kl,nl->n", directions, self.matrix, directions)
        return torch.where(along > 0, variances / along, 0)[:, None, None] * self.matrix
