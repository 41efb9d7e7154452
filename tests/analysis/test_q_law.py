"""The law of a layer's weight change, and of what an input makes of it, where it is a normal's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.analysis.q_law import q_law
from bayespeft.errors import GuideError

shapes = st.integers(1, 3).flatmap(lambda r: st.tuples(st.just(r), st.integers(r, 5), st.integers(r, 5)))


@given(shapes, st.integers(0, 1000))
def test_q_law_and_the_one_that_is_printed(shape, seed):
    r, _, n = shape
    generator = torch.Generator().manual_seed(seed)
    mean, a = torch.randn(r, r, generator=generator).double(), torch.randn(r, n, generator=generator).double()
    omega = 0.1 + torch.rand(r, r, generator=generator).double()
    law = q_law(mean, omega, a)
    torch.testing.assert_close(law.mean, mean @ a)
    for i in range(r):
        expected = a.T @ omega[i].square().diag() @ a
        torch.testing.assert_close(law.row_covariance(i), expected)
        torch.testing.assert_close(law.std[i], expected.diag().sqrt())
    torch.testing.assert_close(law.published_std, omega @ a.abs())
    assert (law.published_std >= law.std - 1e-12).all()
    assert r == 1 or (law.published_std > law.std).any()


def test_q_law_refuses_what_does_not_fit():
    eye = torch.eye(2)
    with pytest.raises(GuideError, match=r"\(2, 2\), \(2, 2\) and \(3, 4\)"):
        q_law(eye, eye, torch.ones(3, 4))
    with pytest.raises(GuideError, match="not its logarithm"):
        q_law(eye, -eye, torch.ones(2, 4))
    with pytest.raises(GuideError, match="not its logarithm"):
        q_law(eye, eye * torch.nan, torch.ones(2, 4))
