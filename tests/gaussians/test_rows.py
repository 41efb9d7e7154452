"""Rows that are independent of each other are a full covariance in blocks."""

from __future__ import annotations

import pytest
import torch

from bayespeft.errors import GuideError
from bayespeft.gaussians import Full, Rows


def test_it_is_the_full_covariance_with_a_block_for_each_row():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.double).tril(-1) + torch.eye(4).double()
    loc = torch.randn(2, 3, 4, generator=generator, dtype=torch.double)
    blocks = torch.stack([torch.block_diag(*layer) for layer in root])
    rows, full = Rows(loc, root), Full(loc, blocks)
    x, noise = (torch.randn(5, 2, *shape, generator=generator, dtype=torch.double) for shape in ((3, 4), (12,)))
    torch.testing.assert_close(rows.log_prob(x), full.log_prob(x))
    torch.testing.assert_close(rows.sqrt_matvec(noise), full.sqrt_matvec(noise))
    torch.testing.assert_close(rows.sqrt_rmatvec(x), full.sqrt_rmatvec(x))
    torch.testing.assert_close(rows.marginal_variance, full.marginal_variance)


def test_one_number_a_layer_is_a_row_of_one():
    q = Rows(torch.zeros(3), torch.full((3, 1, 1), 2.0))
    assert q.sqrt_matvec(torch.ones(3, 1)).tolist() == [2.0, 2.0, 2.0]


def test_a_root_for_all_rows_together_is_refused():
    with pytest.raises(GuideError, match=r"scale_tril.*\(2, 3, 4, 4\)"):
        Rows(torch.zeros(2, 3, 4), torch.eye(4).expand(2, 4, 4))
