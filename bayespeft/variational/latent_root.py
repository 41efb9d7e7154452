"""A square root S of the covariance of one layer's latents, Sigma = S S^T, out of a Gaussian guide."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bayespeft.guides.gaussian import GaussianGuide

# The work arrays of one chunk hold this many numbers, 32 MiB: larger ones leave the caches and are slower.
_CHUNK = 2**22


@dataclass(frozen=True)
class Root:
    """A square root S of the latents' covariance at a layer, acting on rows.

    Attributes:
        width: standard normals, w.
        sqrt_matvec: (k, w) -> (k, d), S e.
        sqrt_rmatvec: (k, d) -> (k, w), S^T g.
        numbers: of the work arrays of one row.
    """

    width: int
    sqrt_matvec: Callable[[Tensor], Tensor]
    sqrt_rmatvec: Callable[[Tensor], Tensor]
    numbers: int

    def compressed(self, size: int) -> Root:
        """Return a root of as many columns as there are latents, `size`."""
        rows = rows_of_chunk(self.numbers)
        covariance = torch.cat(
            [self.sqrt_matvec(self.sqrt_rmatvec(part)) for part in torch.split(identity(size), rows)]
        )
        values, vectors = torch.linalg.eigh((covariance + covariance.mT) / 2)
        root = vectors * values.clamp_min(0).sqrt()
        return Root(size, lambda noise: noise @ root.mT, lambda gradient: gradient @ root, size)


def latent_root(guide: GaussianGuide, places: Sequence[tuple[str, int]]) -> Root:
    """Return the root of some rows of stacks, by the guide's `sqrt_matvec` and `sqrt_rmatvec` on the noise of all layers."""
    # In double precision the two are each other's adjoint to the last digit, and stacks of every family have one type.
    guide = copy.deepcopy(guide).cpu().double().requires_grad_(False)
    means = guide.mean()
    sizes = [means[name][row].numel() for name, row in places]
    total = guide.noise_size

    def sqrt_rmatvec(gradient: Tensor) -> Tensor:
        gradients = {name: gradient.new_zeros(len(gradient), *mean.shape) for name, mean in means.items()}
        for (name, row), part in zip(places, torch.split(gradient, sizes, 1), strict=True):
            gradients[name][:, row] = part.reshape(len(gradient), *means[name].shape[1:])
        return guide.sqrt_rmatvec(gradients)

    # Noise of other layers has no part in a gradient of this one; a random gradient shows all noise that has.
    active = sqrt_rmatvec(random_rows(1, sum(sizes)))[0].nonzero()[:, 0]

    def sqrt_matvec(noise: Tensor) -> Tensor:
        everything = noise.new_zeros(len(noise), total)
        everything[:, active] = noise
        deviations = guide.sqrt_matvec(everything)
        return torch.cat([deviations[name][:, row].flatten(1) for name, row in places], 1)

    return Root(len(active), sqrt_matvec, lambda gradient: sqrt_rmatvec(gradient)[:, active], max(total, sum(sizes)))


def random_rows(rows: int, size: int) -> Tensor:
    """Return standard normals (rows, size) in float64, the same at each call."""
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def identity(size: int) -> Tensor:
    """Return the identity (size, size) in float64."""
    return torch.eye(size, dtype=torch.float64)


def rows_of_chunk(numbers: int) -> int:
    """Return the rows of a chunk whose work arrays have `numbers` numbers a row."""
    return max(1, _CHUNK // numbers)
