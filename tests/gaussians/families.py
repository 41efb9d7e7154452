"""Random members of every family in float64, and what they are as dense multivariate normals."""

from __future__ import annotations

from collections.abc import Callable

import pyro.distributions as dist
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal

from bayespeft.gaussians import Diagonal, Full, LowRank, MatrixNormal, PackedGaussian, Rotated, Rows
from bayespeft.gaussians.matrix_normal import as_matrix

Shape = tuple[int, ...]


def randn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.double)


def std(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard deviations between about 0.2 and 3."""
    return torch.exp(0.5 * randn(generator, *shape))


def tril(generator: torch.Generator, layers: int, n: int) -> Tensor:
    """Cholesky factors whose rows don't grow with n: otherwise conditions do, exponentially, and no figure means much."""
    return randn(generator, layers, n, n).tril(-1) / n**0.5 + torch.diag_embed(std(generator, layers, n))


def diagonal(shape: Shape, generator: torch.Generator) -> Diagonal:
    return Diagonal(randn(generator, *shape), std(generator, *shape))


def full(shape: Shape, generator: torch.Generator) -> Full:
    size = torch.Size(shape[1:]).numel()
    return Full(randn(generator, *shape), tril(generator, shape[0], size))


def low_rank(shape: Shape, generator: torch.Generator) -> LowRank:
    size = torch.Size(shape[1:]).numel()
    factor = randn(generator, shape[0], size, 2)
    return LowRank(randn(generator, *shape), std(generator, *shape), factor)


def matrix_normal(shape: Shape, generator: torch.Generator) -> MatrixNormal:
    rows, columns = as_matrix(torch.Size(shape[1:]))
    return MatrixNormal(randn(generator, *shape), tril(generator, shape[0], rows), tril(generator, shape[0], columns))


def rotated(shape: Shape, generator: torch.Generator) -> Rotated:
    sizes = as_matrix(torch.Size(shape[1:]))
    rows, columns = (torch.linalg.qr(randn(generator, shape[0], n, n))[0] for n in sizes)
    return Rotated(randn(generator, *shape), std(generator, shape[0], *sizes), rows, columns)


def by_rows(shape: Shape, generator: torch.Generator) -> Rows:
    own = shape if len(shape) > 1 else (*shape, 1)
    factors = tril(generator, torch.Size(own[:-1]).numel(), own[-1])
    return Rows(randn(generator, *shape), factors.reshape(*own, own[-1]))


FAMILIES: dict[str, Callable[[Shape, torch.Generator], PackedGaussian]] = {
    "diagonal": diagonal,
    "full": full,
    "low_rank": low_rank,
    "matrix_normal": matrix_normal,
    "rotated": rotated,
    "rows": by_rows,
}

# Layers of scalars, vectors, matrices, and one tensor of three dimensions.
shapes = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**31)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def covariance(q: PackedGaussian) -> Tensor:
    """Sigma (layers, d, d), from the definition of each family."""
    if isinstance(q, Diagonal):
        return torch.diag_embed(q.std.flatten(1) ** 2 if q.std.dim() > 1 else q.std[:, None] ** 2)
    if isinstance(q, Full):
        return q.scale_tril @ q.scale_tril.mT
    if isinstance(q, Rows):
        factors = q.scale_tril.reshape(len(q.loc), -1, *q.scale_tril.shape[-2:])
        return torch.stack([torch.block_diag(*(own @ own.mT for own in layer)) for layer in factors])
    if isinstance(q, LowRank):
        return torch.diag_embed(q.std.reshape(len(q.std), -1) ** 2) + q.factor @ q.factor.mT
    if isinstance(q, Rotated):
        turn = torch.stack([torch.kron(u, v) for u, v in zip(q.rows, q.columns, strict=True)])
        return turn @ torch.diag_embed(q.std.flatten(1) ** 2) @ turn.mT
    assert isinstance(q, MatrixNormal)
    rows, columns = q.row_tril @ q.row_tril.mT, q.column_tril @ q.column_tril.mT
    return torch.stack([torch.kron(u, v) for u, v in zip(rows, columns, strict=True)])


def dense(q: PackedGaussian) -> MultivariateNormal:
    """The same Gaussian with layers as batch."""
    return MultivariateNormal(q.loc.reshape(len(q.loc), -1), covariance(q))


def rounding(q: PackedGaussian, value: Tensor) -> Tensor:
    """How far a value (layers,) that `dense(q)` gives may be off.

    Its Cholesky factor is that of a covariance that differs by some n eps ||Sigma|| (Higham 2002, Accuracy and Stability of
    Numerical Algorithms, theorem 10.3), which the logarithm of the determinant and Sigma^-1 magnify by Sigma's condition. The
    terms of the sum, which cancel in part, bring a dozen roundings of their own, however small n is.
    """
    sigma = covariance(q)
    rounded = (sigma.shape[-1] + 12) * torch.finfo(sigma.dtype).eps
    return 4 * rounded * torch.linalg.cond(sigma) * (1 + value.abs())


def prior(shape: Shape, generator: torch.Generator) -> dist.Distribution:
    """Independent normals, with a scale for each element."""
    return dist.Normal(randn(generator, *shape), std(generator, *shape)).to_event(len(shape))
