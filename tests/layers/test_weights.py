"""What weights do to inputs equals what dense matrices do, row by row."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.errors import GuideError
from bayespeft.layers.weights import Flipped, Grouped, Shared, TokenFlipped, random_signs
from bayespeft.variational.noise import spread

sizes = st.integers(1, 4)


@given(sizes, sizes, sizes, sizes, sizes, st.integers(0, 1000))
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
    vector = TokenFlipped(torch.zeros(4), torch.ones(4))
    assert torch.equal(vector.mul(x), vector.mul(x))


def test_token_signs_of_inputs_and_outputs_are_different_even_for_square_matrices():
    weight = TokenFlipped(torch.zeros(8, 8), torch.eye(8))
    x = torch.ones(4, 8, 8)
    # With the same signs at both ends the identity would come out unflipped.
    assert set(weight.linear(x).unique().tolist()) == {-1.0, 1.0}


def test_shared_follows_the_input_dtype():
    x = torch.randn(2, 4, dtype=torch.bfloat16)
    assert Shared(torch.randn(3, 4)).linear(x).dtype == torch.bfloat16
    y = torch.randn(2, 3, dtype=torch.bfloat16)
    for weight in (Shared(torch.randn(3)), Grouped(torch.randn(2, 3))):
        assert weight.add(y).dtype == weight.mul(y).dtype == torch.bfloat16
    for weight in (
        Flipped(torch.randn(3), torch.randn(3), None, torch.ones(2, 3)),
        TokenFlipped(torch.randn(3), torch.randn(3)),
    ):
        assert weight.mul(y).dtype == torch.bfloat16


@given(sizes, sizes, sizes, sizes, st.integers(0, 1000))
def test_vectors_meet_the_elements_of_their_rows(groups, each, tokens, d, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(groups * each, tokens, d, generator=generator, dtype=torch.double)
    value = torch.randn(groups, d, generator=generator, dtype=torch.double)
    for weight, of in ((Grouped(value), lambda i: value[i // each]), (Shared(value[0]), lambda i: value[0])):
        torch.testing.assert_close(weight.mul(x), torch.stack([x[i] * of(i) for i in range(len(x))]))
        torch.testing.assert_close(weight.add(x), torch.stack([x[i] + of(i) for i in range(len(x))]))
        torch.testing.assert_close(weight.mul(x.flatten(0, 1)), weight.mul(x).flatten(0, 1))


@given(sizes, sizes, sizes, st.integers(0, 1000))
def test_flipped_vector_has_a_sign_for_each_element_of_each_example(batch, tokens, d, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, tokens, d, generator=generator, dtype=torch.double)
    mean, deviation = torch.randn(2, d, generator=generator, dtype=torch.double)
    signs = torch.sign(torch.randn(batch, d, generator=generator))
    y = Flipped(mean, deviation, None, signs).mul(x)
    torch.testing.assert_close(y, x * (mean + deviation * signs).unsqueeze(1))


@pytest.mark.parametrize("noise", ["batch", "example", "flipout", "token"])
def test_moments_of_a_vector_in_each_noise_mode(noise):
    batch, tokens, d, n = 2, 2, 3, 4000
    generator = torch.Generator().manual_seed(0)
    mean, std = torch.linspace(-1, 1, d).reshape(1, d), torch.linspace(0.3, 1, d).reshape(1, d)
    x = 1 + torch.rand(batch, tokens, d, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        shape = (batch, 1, d) if noise == "example" else (1, d)
        z = torch.stack([spread(noise, mean + std * torch.randn(shape), mean, 0, batch).mul(x) for _ in range(n)])
    centered = z - mean * x
    assert (centered.mean(0).abs() < 5 * std * x / n**0.5).all()
    assert ((centered.square().mean(0) - (std * x) ** 2).abs() < 5 * (std * x) ** 2 * (2 / n) ** 0.5).all()
    # Products of two normals with the same |deviation|: standard deviation at most sqrt(3) of the variances.
    across_examples, across_tokens = centered[:, 0, 0] * centered[:, 1, 0], centered[:, 0, 0] * centered[:, 0, 1]
    examples, inside = std[0] ** 2 * x[0, 0] * x[1, 0], std[0] ** 2 * x[0, 0] * x[0, 1]
    error = 5 * (3 / n) ** 0.5
    assert ((across_examples.mean(0) - examples * (noise == "batch")).abs() < error * examples).all()
    assert ((across_tokens.mean(0) - inside * (noise != "token")).abs() < error * inside).all()


@pytest.mark.parametrize(
    "weight",
    [
        Flipped(torch.zeros(2, 2), torch.ones(2, 2), torch.ones(1, 2), torch.ones(1, 2)),
        TokenFlipped(torch.zeros(2, 2), torch.ones(2, 2)),
    ],
)
def test_a_mean_with_signs_refuses_what_it_can_not_do(weight):
    with pytest.raises(GuideError, match=r"isn't linear.*noise='example'"):
        weight.values()
    with pytest.raises(GuideError, match="bias"):
        weight.add(torch.zeros(1, 2))


def test_matrices_and_vectors_are_not_taken_for_one_another():
    for act in (Grouped(torch.zeros(1, 2, 2)).add, Grouped(torch.zeros(1, 2, 2)).mul):
        with pytest.raises(GuideError, match=r"matrix of shape \(2, 2\)"):
            act(torch.zeros(1, 2))
    with pytest.raises(GuideError, match=r"vector of shape \(2,\) can't act as a matrix"):
        Flipped(torch.zeros(2), torch.ones(2), None, torch.ones(1, 2)).linear(torch.zeros(1, 2))


def test_signs_are_plus_or_minus_one():
    signs = random_signs((1000,), torch.zeros(1))
    assert set(signs.tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("kind", ["shared", "grouped", "flipped", "token"])
def test_minus_changes_the_value_and_not_the_noise(kind):
    generator = torch.Generator().manual_seed(0)
    mean, deviation, fixed = (torch.randn(3, 5, generator=generator) for _ in range(3))
    weight = {
        "shared": Shared(mean),
        "grouped": Grouped(torch.stack([mean, deviation])),
        "flipped": Flipped(mean, deviation, random_signs((4, 3), mean), random_signs((4, 5), mean)),
        "token": TokenFlipped(mean, deviation),
    }[kind]
    x = torch.randn(4, 2, 5, generator=generator)
    expected = weight.linear(x) - x @ fixed.T
    torch.testing.assert_close(weight.minus(Shared(fixed)).linear(x), expected, atol=1e-5, rtol=1e-5)
