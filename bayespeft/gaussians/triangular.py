"""Lower-triangular matrices of a stack, one for each layer, times and under vectors.

Leading dimensions of the vectors become columns: broadcasting would copy each layer's matrix once for every example.
"""

from __future__ import annotations

import torch
from torch import Tensor


def multiply(matrix: Tensor, vectors: Tensor) -> Tensor:
    """Return matrix @ vector, (..., layers, m), of matrices (layers, m, n) and vectors (..., layers, n)."""
    return torch.einsum("lij,...lj->...li", matrix, vectors)


def solve(lower: Tensor, vectors: Tensor) -> Tensor:
    """Return lower^-1 vector, (..., layers, n), of lower-triangular (layers, n, n) and vectors (..., layers, n)."""
    columns = vectors.reshape(-1, *vectors.shape[-2:]).permute(1, 2, 0)
    solved: Tensor = torch.linalg.solve_triangular(lower, columns, upper=False)
    return solved.permute(2, 0, 1).reshape(vectors.shape)
