"""Kronecker eigenbases: a matrix normal is one, and signs of eigenvectors say nothing."""

from __future__ import annotations

import pytest
import torch

from bayespeft.errors import GuideError
from bayespeft.gaussians import MatrixNormal, Rotated


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    rows, columns = (
        torch.randn(2, n, n, generator=generator, dtype=torch.double).tril(-1) + torch.eye(n).double() for n in (3, 4)
    )
    loc, x = (torch.randn(2, 3, 4, generator=generator, dtype=torch.double) for _ in range(2))
    return rows, columns, loc, x


def test_a_matrix_normal_is_one_whose_variances_are_products(parts):
    rows, columns, loc, x = parts
    (u, left), (v, right) = (torch.linalg.eigh(root @ root.mT) for root in (rows, columns))
    rotated = Rotated(loc, (u[:, :, None] * v[:, None]).sqrt(), left, right)
    normal = MatrixNormal(loc, rows, columns)
    torch.testing.assert_close(rotated.log_prob(x), normal.log_prob(x))
    torch.testing.assert_close(rotated.marginal_variance, normal.marginal_variance)


def test_the_law_does_not_know_the_signs_of_eigenvectors(parts):
    rows, columns, loc, x = parts
    left, right = (torch.linalg.qr(matrix)[0] for matrix in (rows, columns))
    std = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.double) + 0.5
    flipped = left * torch.tensor([1.0, -1.0, -1.0])
    torch.testing.assert_close(
        Rotated(loc, std, flipped, right).log_prob(x), Rotated(loc, std, left, right).log_prob(x)
    )


def test_eigenvectors_of_another_number_of_rows_are_refused():
    with pytest.raises(GuideError, match=r"rows.*\(2, 3, 3\)"):
        Rotated(torch.zeros(2, 3, 4), torch.ones(2, 3, 4), *2 * [torch.eye(4).expand(2, 4, 4)])
