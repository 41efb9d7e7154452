"""Running moments are those of all draws at once, whatever the pieces, and however large the mean."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.predictive.moments import Moments


@given(st.integers(0, 10**6), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.sampled_from([0.0, 1e8]))
def test_pieces_of_draws_and_rows_add_up(seed, sizes, offset):
    generator = torch.Generator().manual_seed(seed)
    values = offset + torch.randn(sum(sizes), 5, 2, generator=generator, dtype=torch.float64)
    order = torch.randperm(5, generator=generator)
    moments = Moments(5)
    for piece in values.split(sizes):
        for rows in order.split(2):
            moments.add(piece[:, rows], rows)
    torch.testing.assert_close(moments.mean, values.mean(0))
    torch.testing.assert_close(moments.variance(len(values)), values.var(0, correction=0), rtol=1e-6, atol=1e-6)
