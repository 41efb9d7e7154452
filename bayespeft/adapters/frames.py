"""Frames: matrices of singular vectors, taken from a weight, and matrices kept orthonormal while they are trained."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bayespeft.errors import AttachError
from bayespeft.layers.layer import Layer
from bayespeft.utils.randomness import seeded

# Up to this smaller side an exact decomposition takes half a second; beyond, it grows with the cube.
EXACT_UP_TO = 1024
# For larger matrices: directions beyond r, and power iterations, of the randomised decomposition. An error in the k-th
# direction shrinks by (s_{r + 64} / s_k)^25.
OVERSAMPLING, ITERATIONS = 64, 12


class Frames(NamedTuple):
    """r singular triplets of an m x n matrix: left (m, r), values (r,) descending, right (r, n); float, CPU."""

    left: Tensor
    values: Tensor
    right: Tensor


def full_svd(matrix: Tensor) -> Frames:
    """Return all singular triplets of a matrix (m, n), signs as `truncated_svd`; in double precision on its device."""
    return _signed(*torch.linalg.svd(matrix.double(), full_matrices=False))


def product_svd(left: Tensor, right: Tensor) -> Frames:
    """Return all singular triplets of a product of (m, r) and (r, n), as `full_svd`, without the product."""
    (rows, upper), (columns, lower) = torch.linalg.qr(left.double()), torch.linalg.qr(right.double().mT)
    u, values, v = torch.linalg.svd(upper @ lower.mT, full_matrices=False)
    return _signed(rows @ u, values, v @ columns.mT)


def truncated_svd(
    matrix: Tensor, r: int, generator: torch.Generator, layer: Layer, exact_up_to: int | None = None
) -> Frames:
    """Return the leading r singular triplets of a matrix (m, n).

    The entry of largest magnitude of each left vector is positive, so that machines agree on signs. Matrices with a side
    of at most 1024 are decomposed exactly, larger ones by subspace iteration (Halko et al. 2011, algorithm 4.4).

    Args:
        matrix: any float matrix.
        r: how many triplets.
        generator: decides the random start of the iteration (on the CPU).
        layer: the layer, for the error's message.
        exact_up_to: a smaller side up to which the decomposition is exact; None: 1024.

    Raises:
        AttachError: the matrix has fewer than r singular values.
    """
    if r > min(matrix.shape):
        raise AttachError(
            f"layer '{layer.name}': r={r}, but a {matrix.shape[0]} x {matrix.shape[1]} matrix has {min(matrix.shape)} singular "
            f"values. Set r to at most {min(matrix.shape)}, or leave the layer out of targets=."
        )
    if min(matrix.shape) <= (EXACT_UP_TO if exact_up_to is None else exact_up_to):
        left, values, right = torch.linalg.svd(matrix.double().cpu(), full_matrices=False)
    else:
        with seeded(int(torch.randint(2**31, (), generator=generator))):
            left, values, columns = torch.svd_lowrank(matrix, q=min(r + OVERSAMPLING, *matrix.shape), niter=ITERATIONS)
        right = columns.mT
    return _signed(left[:, :r], values[:r], right[:r])


def _signed(left: Tensor, values: Tensor, right: Tensor) -> Frames:
    signs = left.gather(0, left.abs().argmax(0, keepdim=True)).sign()
    return Frames(*(part.float().cpu().contiguous() for part in (left * signs, values, right * signs.mT)))


def orthonormal_columns(b: Tensor) -> Tensor:
    """Return Q(B), with orthonormal columns that span those of B: (..., m, r) -> (..., m, r), m >= r.

    Cholesky QR: Q = B L^-T with B^T B = L L^T. It is B itself where B is orthonormal, the same for B and cB, c > 0, and
    smooth wherever B has rank r. A polar factor by way of eigenvalues is smooth as well, but its computed gradient has
    1 / (s_i - s_j) in it, which is infinite at the orthonormal start, where all singular values are 1.
    Columns that are dependent have no frame: the result is then not a number, which a fit reports.
    """
    # Products in half precision would be orthonormal to two digits.
    with torch.autocast(b.device.type, enabled=False):
        root, info = torch.linalg.cholesky_ex(b.mT @ b)
        q: Tensor = torch.linalg.solve_triangular(root, b.mT, upper=False).mT
    return q.masked_fill((info != 0)[..., None, None], torch.nan)


def orthonormal_rows(a: Tensor) -> Tensor:
    """Return Q(A^T)^T, with orthonormal rows that span those of A: (..., r, n) -> (..., r, n), n >= r."""
    return orthonormal_columns(a.mT).mT
