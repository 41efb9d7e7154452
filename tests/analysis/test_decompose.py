"""Robust PCA: exact where theory says so, right in corner cases, and clear about what it can't take."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import bayespeft
from bayespeft.errors import ConfigError, DataError, FitError


def planted(n: int, rank: int, corrupted: float, seed: int) -> tuple[Tensor, Tensor]:
    """Candès et al., section 4.1: Gaussian factors, and errors of random sign at uniformly chosen places."""
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, n, rank, generator=generator, dtype=torch.double)
    sparse = torch.zeros(n * n, dtype=torch.double)
    count = int(corrupted * n * n)
    places = torch.randperm(n * n, generator=generator)[:count]
    sparse[places] = 2 * torch.randint(0, 2, (count,), generator=generator).double() - 1
    return left @ right.T / n, sparse.reshape(n, n)


def distance(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).norm() / truth.norm())


@pytest.mark.parametrize(("corrupted", "seed"), [(0.05, 0), (0.1, 1)])
def test_recovers_a_planted_matrix_of_200_exactly(corrupted, seed):
    low_rank, sparse = planted(200, 10, corrupted, seed)
    found = bayespeft.decompose(low_rank + sparse)
    assert distance(found.low_rank, low_rank) < 1e-5
    assert distance(found.sparse, sparse) < 1e-5
    assert found.rank == 10
    assert found.density == pytest.approx(corrupted, rel=0.02)
    assert torch.equal(found.sparse.abs() > 1e-4, sparse != 0)
    assert found.residual <= 1e-7


def objective(low_rank: Tensor, sparse: Tensor, weight: float) -> float:
    return float(torch.linalg.svdvals(low_rank).sum() + weight * sparse.abs().sum())


@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.05, 2.0), st.integers(0, 1000))
def test_is_a_minimum_among_all_splits(m, n, weight, seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(m, n, generator=generator, dtype=torch.double)
    found = bayespeft.decompose(matrix, weight=weight)
    torch.testing.assert_close(found.low_rank + found.sparse, matrix, atol=1e-5, rtol=0)
    least = objective(found.low_rank, matrix - found.low_rank, weight)
    # The problem is convex: a split that nothing nearby improves on is the best there is.
    for size in (1e-3, 0.1, 1.0):
        move = size * torch.randn(m, n, generator=generator, dtype=torch.double)
        other = found.low_rank + move
        assert objective(other, matrix - other, weight) >= least - 1e-5 * (1 + least)
    assert least <= min(objective(matrix, 0 * matrix, weight), objective(0 * matrix, matrix, weight)) + 1e-5


def test_corner_cases():
    zero = bayespeft.decompose(torch.zeros(4, 6))
    assert not zero.low_rank.any()
    assert not zero.sparse.any()
    assert zero[2:] == (0, 0.0, 0, 0.0)
    ones = bayespeft.decompose(torch.ones(20, 30))
    assert (ones.rank, ones.density) == (1, 0.0)
    torch.testing.assert_close(ones.low_rank, torch.ones(20, 30))
    few = torch.zeros(50, 50)
    few[torch.arange(50), torch.arange(50).flip(0)] = torch.linspace(1, 5, 50)
    only_sparse = bayespeft.decompose(few)
    assert only_sparse.rank == 0
    torch.testing.assert_close(only_sparse.sparse, few)
    single = bayespeft.decompose(torch.tensor([[3.0]]))
    assert float(single.low_rank + single.sparse) == pytest.approx(3.0)


def test_dtype_scale_and_orientation():
    low_rank, sparse = planted(40, 2, 0.03, 2)
    matrix = low_rank + sparse
    found = bayespeft.decompose(matrix)
    single = bayespeft.decompose(matrix.float())
    assert single.low_rank.dtype == single.sparse.dtype == torch.float32
    torch.testing.assert_close(single.low_rank.double(), found.low_rank, atol=1e-5, rtol=1e-5)
    assert bayespeft.decompose(matrix.bfloat16()).sparse.dtype == torch.bfloat16
    for factor in (1e-30, -1.0, 1e30):
        torch.testing.assert_close(bayespeft.decompose(factor * matrix).low_rank / factor, found.low_rank)
    torch.testing.assert_close(bayespeft.decompose(matrix.T).low_rank.T, found.low_rank)


def test_the_weight_trades_rank_for_density():
    matrix = torch.randn(30, 30, generator=torch.Generator().manual_seed(0))
    splits = [bayespeft.decompose(matrix, weight=weight) for weight in (0.1, 0.2, 0.3)]
    assert splits[0].rank < splits[1].rank < splits[2].rank
    assert splits[0].density > splits[1].density > splits[2].density


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_stays_on_its_device():
    low_rank, sparse = planted(60, 3, 0.05, 0)
    found = bayespeft.decompose((low_rank + sparse).cuda())
    assert found.low_rank.is_cuda
    assert found.sparse.is_cuda
    assert distance(found.low_rank.cpu(), low_rank) < 1e-5


def test_leaves_the_matrix_and_its_graph_alone():
    matrix = torch.randn(5, 5).requires_grad_()
    before = matrix.detach().clone()
    found = bayespeft.decompose(matrix)
    assert torch.equal(matrix.detach(), before)
    assert not found.low_rank.requires_grad


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.zeros(3), "not torch.float32 of shape"),
        (torch.zeros(2, 3, 4), "matrix"),
        (torch.zeros(2, 3, dtype=torch.long), "torch.int64"),
        (torch.zeros(0, 3), "matrix"),
        ([[1.0]], "not list"),
        (torch.tensor([[1.0, math.nan]]), r"element \(0, 1\) is nan"),
        (torch.tensor([[1.0], [math.inf]]), r"element \(1, 0\) is inf"),
    ],
)
def test_bad_matrices_are_refused(matrix, message):
    with pytest.raises(DataError, match=message):
        bayespeft.decompose(matrix)


@pytest.mark.parametrize(
    "options",
    [{"weight": 0.0}, {"weight": math.nan}, {"weight": -1.0}, {"tolerance": 0.0}, {"max_iterations": 0}],
)
def test_bad_settings_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        bayespeft.decompose(torch.eye(3), **options)


def test_an_unfinished_split_is_an_error():
    low_rank, sparse = planted(30, 2, 0.05, 0)
    with pytest.raises(FitError, match="after 3 steps"):
        bayespeft.decompose(low_rank + sparse, max_iterations=3)
