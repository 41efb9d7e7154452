"""Full covariances: the order of their elements, and Cholesky factors that are none."""

from __future__ import annotations

import pytest
import torch

from bayespeft.errors import GuideError
from bayespeft.gaussians import Diagonal, Full


def test_elements_go_row_by_row():
    """Only elements (0, 1) and (1, 0) of a 2 x 2 matrix correlate, numbers 1 and 2 of four."""
    lower = torch.eye(4)
    lower[2, 1] = 0.5
    q = Full(torch.zeros(1, 2, 2), lower[None])
    moved = q.sqrt_matvec(torch.tensor([[[0.0, 1.0, 0.0, 0.0]]]))
    assert moved.squeeze().tolist() == [[0.0, 1.0], [0.5, 0.0]]
    assert q.marginal_variance.squeeze().tolist() == [[1.0, 1.0], [1.25, 1.0]]


def test_without_correlations_it_is_the_diagonal_one():
    std = torch.rand(2, 3, generator=torch.Generator().manual_seed(0)) + 0.5
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1))
    full, diagonal = Full(torch.zeros(2, 3), torch.diag_embed(std)), Diagonal(torch.zeros(2, 3), std)
    torch.testing.assert_close(full.log_prob(x), diagonal.log_prob(x))


def test_a_root_of_another_shape_or_that_is_no_cholesky_factor_is_refused():
    loc = torch.zeros(2, 3, 4)
    with pytest.raises(GuideError, match=r"scale_tril.*\(2, 12, 12\)"):
        Full(loc, torch.eye(12))
    with pytest.raises(ValueError, match="scale_tril"):
        Full(loc, torch.ones(2, 12, 12))
