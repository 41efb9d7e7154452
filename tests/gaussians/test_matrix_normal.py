"""The matrix normal law, and its diagonal."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import kl_divergence

from bayespeft.errors import GuideError
from bayespeft.gaussians import Diagonal, MatrixNormal
from bayespeft.priors.normal import Normal as NormalPrior
from tests.gaussians.families import FAMILIES, prior, randn, seeded, seeds, std


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), seed=seeds)
def test_matrix_normal_kl_is_the_formula_with_traces(rows, columns, seed):
    generator = seeded(seed)
    q, sp = FAMILIES["matrix_normal"]((1, rows, columns), generator), 0.7
    center = randn(generator, 1, rows, columns)
    u, v = q.row_tril[0] @ q.row_tril[0].T, q.column_tril[0] @ q.column_tril[0].T
    u0, v0 = torch.eye(rows).double(), sp**2 * torch.eye(columns).double()
    off = q.loc[0] - center[0]
    formula = 0.5 * (
        torch.trace(v0.inverse() @ v) * torch.trace(u0.inverse() @ u)
        + torch.trace(v0.inverse() @ off.T @ u0.inverse() @ off)
        - rows * columns
        + columns * (torch.logdet(u0) - torch.logdet(u))
        + rows * (torch.logdet(v0) - torch.logdet(v))
    )
    p = NormalPrior(scale=sp).distribution(center)
    torch.testing.assert_close(kl_divergence(q, p), formula, rtol=1e-9, atol=1e-9)


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), seed=seeds)
def test_a_diagonal_gaussian_with_variances_of_rank_one_is_matrix_normal(rows, columns, seed):
    generator = seeded(seed)
    mean, value = randn(generator, 2, 1, rows, columns)
    row, column = std(generator, 1, rows), std(generator, 1, columns)
    diagonal = Diagonal(mean, row.unsqueeze(-1) * column.unsqueeze(-2))
    matrix = MatrixNormal(mean, torch.diag_embed(row), torch.diag_embed(column))
    p = prior((1, rows, columns), generator)
    torch.testing.assert_close(diagonal.variance, matrix.variance)
    torch.testing.assert_close(diagonal.log_prob(value), matrix.log_prob(value))
    torch.testing.assert_close(kl_divergence(diagonal, p), kl_divergence(matrix, p))


@given(seed=seeds)
def test_variances_of_a_matrix_normal_always_have_rank_one(seed):
    # So a diagonal Gaussian whose variances have a higher rank is no matrix normal.
    q = FAMILIES["matrix_normal"]((1, 3, 2), seeded(seed))
    singular = torch.linalg.svdvals(q.variance[0])
    assert float(singular[1]) < 1e-9 * float(singular[0])


def test_a_root_of_another_side_is_refused():
    with pytest.raises(GuideError, match=r"column_tril.*\(2, 4, 4\)"):
        MatrixNormal(torch.zeros(2, 3, 4), torch.eye(3).expand(2, 3, 3), torch.eye(3).expand(2, 3, 3))
