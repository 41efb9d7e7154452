"""What weights do to inputs equals what dense matrices do, row by row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bayespeft.weights import Flipped, Grouped, Shared, TokenFlipped, random_signs

sizes = st.integers(1, 4)


@given(sizes, sizes, sizes, sizes, sizes, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_grouped_applies_each_matrix_to_its_group(groups, each, tokens, n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(groups * each, tokens, n, generator=generator, dtype=torch.double)
    value = torch.randn(groups, m, n, generator=generator, dtype=torch.double)
    y = Grouped(value).linear(x)
    expected = torch.stack([x[i] @ value[i // each].T for i in range(len(x))])
    torch.testing.assert_close(y, expected)
    # Layers that flatten (batch, tokens) keep the same rows together.
    torch.testing.assert_close(Grouped(value).linear(x.flatten(0, 1)), expected.flatten(0, 1))


@given(sizes, sizes, sizes, sizes, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_flipped_is_the_dense_sign_matrix_of_each_example(batch, tokens, n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, tokens, n, generator=generator, dtype=torch.double)
    mean, deviation = torch.randn(2, m, n, generator=generator, dtype=torch.double)
    s_out, s_in = (
        torch.sign(torch.randn(batch, m, generator=generator)),
        torch.sign(torch.randn(batch, n, generator=generator)),
    )
    y = Flipped(mean, deviation, s_out, s_in).linear(x)
    for i in range(batch):
        dense = mean + deviation * torch.outer(s_out[i], s_in[i]).double()
        torch.testing.assert_close(y[i], x[i] @ dense.T)


def test_token_signs_are_kept_for_a_recomputed_forward_pass():
    weight = TokenFlipped(torch.zeros(3, 4), torch.ones(3, 4))
    x = torch.randn(2, 5, 4)
    assert torch.equal(weight.linear(x), weight.linear(x))


def test_shared_follows_the_input_dtype():
    x = torch.randn(2, 4, dtype=torch.bfloat16)
    assert Shared(torch.randn(3, 4)).linear(x).dtype == torch.bfloat16
    assert Shared(torch.randn(3)).add(torch.randn(2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_only_plain_weights_can_be_a_bias():
    with pytest.raises(TypeError, match="bias"):
        Grouped(torch.zeros(1, 2, 2)).add(torch.zeros(2))


def test_signs_are_plus_or_minus_one():
    signs = random_signs((1000,), torch.zeros(1))
    assert set(signs.tolist()) == {-1.0, 1.0}
