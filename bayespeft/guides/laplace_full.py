"""Full Laplace: the whole Gauss-Newton matrix over all latents of all layers together, correlations across layers too.

P latents make a P x P matrix, taken apart once in float64: 3072 for the cores (r = 8) of 48 layers. MacKay 1992, Neural
Computation 4(3); Daxberger et al. 2021, arXiv 2010.14689, on Laplace over part of a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bayespeft.errors import GuideError
from bayespeft.gaussians import PackedGaussian
from bayespeft.guides.base import Values
from bayespeft.guides.laplace import BYTES, LaplaceGuide, LaplaceSpec
from bayespeft.layers.factors import StackedFactor

# Taking a P x P matrix apart takes about so many P^3 operations, of which a core of a CPU does so many a second (float64).
OPERATIONS, PER_SECOND = 10, 2e10
# More numbers than these, which take minutes, are refused on a CPU.
MOST = 10_000


class LaplaceFullGuide(LaplaceGuide):
    """One Gaussian over all stacks: covariance Q diag(1 / (h + tau)) Q^T.

    Attributes:
        vectors: Q (P, P), eigenvectors of H as columns; P goes stack by stack, layer by layer.
        curvature: h (P,), its eigenvalues.
    """

    separate: ClassVar[bool] = False
    vectors: Tensor
    curvature: Tensor

    def __init__(self, stacks: Sequence[StackedFactor], spec: LaplaceFull) -> None:
        size = sum(stack.init.numel() for stack in stacks)
        super().__init__(stacks, spec)
        self.register_buffer("vectors", torch.eye(size))
        self.register_buffer("curvature", torch.zeros(size))

    def family(self, name: str) -> PackedGaussian:
        """Refuse: stacks and layers are correlated.

        Raises:
            GuideError: always.
        """
        raise GuideError(
            f"guide '{self._kind}' is one Gaussian over all stacks: '{name}' has no distribution of its own that would say "
            "what it has in common with the others. Use draws, sqrt_matvec and sqrt_rmatvec, or std for the "
            "standard deviations."
        )

    def std(self) -> dict[str, Tensor]:
        """Return the standard deviations of the single elements (layers, ...)."""
        return self._split((self.vectors * self.scale(self.curvature)).square().sum(-1).sqrt())

    @property
    def noise_size(self) -> int:
        """P."""
        return len(self.curvature)

    def sqrt_matvec(self, noise: Tensor) -> dict[str, Tensor]:
        """Return deviations Q (h + tau)^-1/2 noise: (..., layers, *shape) by stack, of noise (..., P)."""
        return self._split((self.scale(self.curvature) * noise) @ self.vectors.mT)

    def sqrt_rmatvec(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Return (h + tau)^-1/2 Q^T g, (..., P), of g (..., layers, *shape) by stack: the adjoint of `sqrt_matvec`."""
        along = self._joined(gradients) @ self.vectors
        return self.scale(self.curvature) * along

    def totals(self) -> Values:
        """Return H = 0."""
        return {"joint": torch.zeros_like(self.vectors, dtype=torch.double)}

    def add(self, totals: Values, roots: Mapping[str, Any]) -> None:
        """Add outer products of the roots."""
        columns = self._joined(roots).flatten(0, 1).double()
        totals["joint"].addmm_(columns.T, columns)

    def keep(self, totals: Values) -> Tensor:
        """Keep eigenvectors and eigenvalues of H."""
        values, vectors = torch.linalg.eigh(totals["joint"])
        eigenvalues: Tensor = values.clamp_min(0)
        self.vectors.copy_(vectors)
        self.curvature.copy_(eigenvalues)
        return eigenvalues

    def _joined(self, values: Mapping[str, Tensor]) -> Tensor:
        """(..., layers, *shape) by stack to (..., P)."""
        return torch.cat([values[name].flatten(-loc.dim()) for name, loc in self.loc.items()], -1)

    def _split(self, joint: Tensor) -> dict[str, Tensor]:
        """(..., P) to (..., layers, *shape) by stack."""
        parts = torch.split(joint, [loc.numel() for loc in self.loc.values()], dim=-1)
        return {
            name: part.reshape(*part.shape[:-1], *loc.shape)
            for (name, loc), part in zip(self.loc.items(), parts, strict=True)
        }


class LaplaceFull(LaplaceSpec):
    """Full Laplace over the latent factors; the other factors stay points."""

    remedy: ClassVar[str] = (
        "Use guide 'laplace_kronecker' or 'laplace_diagonal', an adapter with fewer latent numbers (core), or a smaller r."
    )

    def memory(self, stacks: Sequence[StackedFactor]) -> Mapping[str, int]:
        """Return the bytes of one matrix over all elements of all stacks."""
        return {" and ".join(stack.name for stack in stacks): BYTES * sum(stack.init.numel() for stack in stacks) ** 2}

    def check_memory(self, stacks: Sequence[StackedFactor], device: torch.device) -> None:
        """Check that the matrix fits into memory, as the base, and that a CPU takes it apart within minutes.

        Raises:
            GuideError: it doesn't; the message names the cost.
        """
        super().check_memory(stacks, device)
        size = sum(stack.init.numel() for stack in stacks)
        if device.type == "cpu" and size > MOST:
            minutes = OPERATIONS * size**3 / PER_SECOND / 60
            raise GuideError(
                f"guide '{self.kind}' would be one covariance of {size:,} numbers, whose {size:,} x {size:,} matrix takes a "
                f"core of a CPU about {minutes:,.0f} minutes to take apart, once it is summed; at most {MOST:,} are taken on a "
                f"CPU. {self.remedy}"
            )

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> LaplaceFullGuide:
        """Start at the factors' initial values, with no curvature: the prior's width."""
        return LaplaceFullGuide(stacks, self)


GUIDE = LaplaceFull
