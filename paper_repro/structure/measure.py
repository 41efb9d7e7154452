"""How much of a matrix a rank, a density, and both together explain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bayespeft import decompose


def by_rank(matrix: Tensor, ranks: Sequence[int]) -> list[float]:
    """Share of the squared Frobenius norm that the best approximation of each rank explains (Eckart-Young)."""
    energy = torch.linalg.svdvals(matrix.double()).square()
    return (energy.cumsum(0) / energy.sum())[torch.tensor(ranks) - 1].tolist()


def by_count(matrix: Tensor, counts: Sequence[int]) -> list[float]:
    """Share that the largest elements explain, so many of them."""
    energy = matrix.double().square().flatten().sort(descending=True).values
    return (energy.cumsum(0) / energy.sum())[torch.tensor(counts) - 1].tolist()


def by_both(matrix: Tensor, sparse: Tensor, ranks: Sequence[int], counts: Sequence[int]) -> list[float]:
    """Share that the largest elements of robust PCA's sparse part and the best rank of all that they leave explain."""
    matrix, sparse = matrix.double(), sparse.double()
    shares = []
    for rank, count in zip(ranks, counts, strict=True):
        kept = torch.zeros_like(sparse).flatten()
        places = sparse.flatten().abs().topk(count).indices
        kept[places] = sparse.flatten()[places]
        tail = torch.linalg.svdvals(matrix - kept.reshape(matrix.shape))[rank:].square().sum()
        shares.append(float(1 - tail / matrix.square().sum()))
    return shares


def structure(matrix: Tensor, ranks: Sequence[int]) -> dict[str, object]:
    """Measure a matrix (m, n) at the budgets r (m + n): rank r, as many elements, and half of each.

    Ranks must be even, so that there is a half.
    """
    m, n = matrix.shape
    counts = [rank * (m + n) for rank in ranks]
    parts = decompose(matrix, tolerance=1e-5)
    values = torch.linalg.svdvals(matrix.double())
    energy = matrix.double().square()
    return {
        "shape": [m, n],
        "norm": float(energy.sum().sqrt()),
        "stable_rank": float(energy.sum() / values[0] ** 2),
        "largest_over_rms": float((energy.max() / energy.mean()).sqrt()),
        "budgets": list(ranks),
        "by_rank": by_rank(matrix, ranks),
        "by_count": by_count(matrix, counts),
        "by_both": by_both(matrix, parts.sparse, [r // 2 for r in ranks], [c // 2 for c in counts]),
        "low_rank": {"rank": parts.rank, "share": float(parts.low_rank.double().square().sum() / energy.sum())},
        "sparse": {"density": parts.density, "share": float(parts.sparse.double().square().sum() / energy.sum())},
        "iterations": parts.iterations,
    }
