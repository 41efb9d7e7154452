"""Robust PCA: a matrix as a low-rank one plus a sparse one, min |L|_* + weight |S|_1 subject to L + S = M.

Candès et al. 2011, J. ACM 58(3) (principal component pursuit: with weight 1 / sqrt(max(m, n)) it finds L and S exactly
where L is of low rank and spread out and S is sparse and scattered). Solved by ADMM, the augmented Lagrangian of Lin et al.
2010, arXiv 1009.5055, but with a penalty that balances the residuals (Boyd et al. 2011, section 3.4.1) and a stop at both:
a penalty that only grows meets L + S = M in half of the steps, at the minimum or not.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from bayespeft.errors import ConfigError, DataError, FitError
from bayespeft.utils.annotations import ELSEWHERE
from bayespeft.utils.checks import checked

# The penalty starts at _PENALTY / |M|_2. After each _EVERY steps it changes by the factor _CHANGE, if one residual is _APART
# times the other; each change of direction raises the factor to the power _BACK, so that the penalty settles, as ADMM needs.
_PENALTY, _EVERY, _CHANGE, _APART, _BACK = 1.25, 10, 2.0, 3.0, 0.8


class Decomposition(NamedTuple):
    """M = low_rank + sparse, up to the residual.

    Attributes:
        low_rank: L (m, n), dtype and device of M.
        sparse: S (m, n), most elements exactly 0.
        rank: of L: its singular values that the last step left above 0.
        density: fraction of elements of S that are not 0 (a few of them only by less than the tolerance).
        iterations: steps taken.
        residual: the larger of |M - L - S|_F / |M|_F and the dual residual, before rounding to M's dtype.
    """

    low_rank: Tensor
    sparse: Tensor
    rank: int
    density: float
    iterations: int
    residual: float


@checked
@torch.no_grad()
def decompose(
    matrix: Annotated[Tensor, ELSEWHERE],
    *,
    weight: float | None = None,
    tolerance: float | None = None,
    max_iterations: int = 5000,
) -> Decomposition:
    """Split a matrix into low rank and sparse, in double precision on the device where it is.

    Each step takes a whole singular value decomposition: seconds in all for 400 x 400, minutes for 4096 x 4096.

    Args:
        matrix: M (m, n), of any floating-point dtype.
        weight: of |S|_1 against |L|_*; None: 1 / sqrt(max(m, n)). A larger one makes S sparser and the rank of L higher.
        tolerance: the residual to stop at; None: 1e-7, or a tenth of the rounding of M's dtype where that is more.
        max_iterations: steps to stop at.

    Raises:
        DataError: M is no matrix of floating-point numbers, is empty, or has elements that are not finite.
        ConfigError: weight or tolerance is not positive and finite, or max_iterations is below 1.
        FitError: the residual is above the tolerance after max_iterations.
    """
    _check(matrix, weight, tolerance, max_iterations)
    limit = max(1e-7, torch.finfo(matrix.dtype).eps / 10) if tolerance is None else tolerance
    largest = float(torch.linalg.matrix_norm(matrix.double(), 2))
    if largest == 0:
        return Decomposition(matrix.clone(), matrix.clone(), 0, 0.0, 0, 0.0)
    data, chosen = matrix.double() / largest, 1 / math.sqrt(max(matrix.shape)) if weight is None else weight
    # The multiplier starts on the boundary of the dual norm's unit ball.
    multiplier = data / max(1.0, float(data.abs().max()) / chosen)
    low_rank, penalty, residual = torch.zeros_like(data), _PENALTY, math.inf
    change, last_way = _CHANGE, 0
    for step in range(1, max_iterations + 1):
        sparse = _shrink(data - low_rank + multiplier / penalty, chosen / penalty)
        before = low_rank
        left, values, right = torch.linalg.svd(data - sparse + multiplier / penalty, full_matrices=False)
        kept = (values - 1 / penalty).clamp_min(0)
        low_rank = (left * kept) @ right
        rest = data - low_rank - sparse
        multiplier = multiplier + penalty * rest
        primal = float(rest.norm() / data.norm())
        dual = penalty * float((low_rank - before).norm() / multiplier.norm())
        residual = max(primal, dual)
        if residual <= limit:
            rank, density = int(kept.count_nonzero()), float(sparse.count_nonzero()) / sparse.numel()
            low_rank, sparse = ((part * largest).to(matrix) for part in (low_rank, sparse))
            return Decomposition(low_rank, sparse, rank, density, step, residual)
        if step % _EVERY == 0:
            way = int(primal > _APART * dual) - int(dual > _APART * primal)
            change = change**_BACK if way * last_way < 0 else change
            penalty, last_way = penalty * change**way, way or last_way
    raise FitError(
        f"robust PCA of a {matrix.shape[0]} x {matrix.shape[1]} matrix has a residual of {residual:.1e} after {max_iterations} "
        f"steps, above the tolerance of {limit:.1e}: raise max_iterations, or the tolerance."
    )


def _shrink(x: Tensor, threshold: float) -> Tensor:
    return x.sign() * (x.abs() - threshold).clamp_min(0)


def _check(matrix: Tensor, weight: float | None, tolerance: float | None, max_iterations: int) -> None:
    if not isinstance(matrix, Tensor) or matrix.dim() != 2 or not matrix.is_floating_point() or not matrix.numel():
        found = (
            f"{matrix.dtype} of shape {tuple(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
        )
        raise DataError(f"decompose needs a matrix (m, n) of floating-point numbers, not {found}.")
    if not matrix.isfinite().all():
        row, column = (~matrix.isfinite()).nonzero()[0].tolist()
        raise DataError(f"decompose: element ({row}, {column}) is {float(matrix[row, column])}; all must be finite.")
    if weight is not None and not 0 < weight < math.inf:
        raise ConfigError(f"weight={weight}: of the sparse part, above 0; None for 1 / sqrt(max(m, n)).")
    if (tolerance is not None and not 0 < tolerance < math.inf) or max_iterations < 1:
        raise ConfigError(f"tolerance={tolerance}, max_iterations={max_iterations}: above 0, and 1 or more.")
