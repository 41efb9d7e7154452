"""Singular vectors of weights, and matrices that stay orthonormal."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bayespeft.adapters import frames
from bayespeft.adapters.frames import orthonormal_columns, orthonormal_rows, truncated_svd
from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.adapters.orthonormal_core import OrthonormalCore
from bayespeft.adapters.scaled_rows import ScaledRows
from bayespeft.errors import AttachError
from tests.adapters.helpers import a_layer

shapes = st.integers(1, 4).flatmap(lambda r: st.tuples(st.just(r), st.integers(r, 7), st.integers(r, 7)))
seeds = st.integers(0, 1000)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.double)


@given(shapes, seeds)
def test_truncated_svd_is_the_best_approximation_with_signs_fixed(shape, seed):
    r, m, n = shape
    matrix = random(m, n, seed=seed)
    left, values, right = truncated_svd(matrix, r, generator(), a_layer(m, n))
    error = torch.linalg.matrix_norm(matrix - (left * values) @ right)
    # Eckart-Young: what is left is the energy of the other singular values.
    assert float(error**2) == pytest.approx(float(torch.linalg.svdvals(matrix)[r:].square().sum()), abs=1e-4)
    assert (left.gather(0, left.abs().argmax(0, keepdim=True)) > 0).all()
    flipped = truncated_svd(-matrix, r, generator(), a_layer(m, n))
    torch.testing.assert_close(flipped.left, left)
    torch.testing.assert_close(flipped.right, -right)


def test_large_matrices_are_decomposed_by_iteration_as_if_exactly():
    r, (m, n) = 8, (1040, 1100)
    u, v = (torch.linalg.qr(torch.randn(side, 200, generator=generator(side)))[0] for side in (m, n))
    # A slowly falling spectrum: neighbours differ by 1 %.
    spectrum = 0.99 ** torch.arange(200)
    matrix = (u * spectrum) @ v.T
    layer, before = a_layer(m, n), torch.get_rng_state()
    left, values, right = truncated_svd(matrix, r, generator(), layer)
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(values, spectrum[:r], atol=1e-3, rtol=0)
    assert torch.linalg.svdvals(left.T @ u[:, :r]).min() > 0.9
    torch.testing.assert_close(matrix @ right.T, left * values, atol=2e-2, rtol=0)
    again = truncated_svd(matrix, r, generator(), layer)
    assert all(torch.equal(x, y) for x, y in zip((left, values, right), again, strict=True))


def test_both_ways_agree_on_the_signs(monkeypatch):
    matrix = random(12, 10).float()
    exact = truncated_svd(matrix, 3, generator(), a_layer(12, 10))
    monkeypatch.setattr(frames, "EXACT_UP_TO", 4)
    for x, y in zip(exact, truncated_svd(matrix, 3, generator(1), a_layer(12, 10)), strict=True):
        torch.testing.assert_close(x, y, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("adapter", [FrozenCore(r=5), OrthonormalCore(r=5), ScaledRows(r=5)])
def test_a_rank_that_the_layer_does_not_have_is_an_error_that_names_it(adapter):
    adapter.factors(a_layer(6, 5), generator())
    with pytest.raises(AttachError, match=r"layer 'layer.0': r=5.* 4 singular values. Set r to at most 4"):
        adapter.factors(a_layer(6, 4), generator())


def test_frames_of_a_core_are_the_layers_own_singular_vectors():
    layer = a_layer(6, 5)
    u, s, vh = torch.linalg.svd(layer.weight())
    factors = FrozenCore(r=2).factors(layer, generator())
    torch.testing.assert_close(factors["B"].init @ factors["A"].init, (u[:, :2] * s[:2]) @ vh[:2])
    torch.testing.assert_close(factors["A"].init.norm(dim=1), s[:2])
    torch.testing.assert_close(factors["B"].init.T @ factors["B"].init, torch.eye(2))
    for adapter in (FrozenCore(r=2, spectrum="unit"), OrthonormalCore(r=2)):
        unit = adapter.factors(layer, generator())
        torch.testing.assert_close(unit["B"].init @ unit["A"].init, u[:, :2] @ vh[:2])
        torch.testing.assert_close(unit["B"].init.T @ unit["B"].init, torch.eye(2))


def test_scaled_rows_start_at_the_singular_values_of_loras_a():
    factors = ScaledRows(r=3).factors(a_layer(6, 5), generator(4))
    rows = factors["z"].init[:, None] * factors["V"].init
    a = torch.empty(3, 5).uniform_(-(5**-0.5), 5**-0.5, generator=generator(4))
    torch.testing.assert_close(rows.T @ rows, a.T @ a)
    torch.testing.assert_close(factors["V"].init @ factors["V"].init.T, torch.eye(3))


@given(shapes, seeds, st.floats(0.01, 100))
def test_orthonormal_columns_span_what_was_given_whatever_its_scale(shape, seed, scale):
    r, m, _ = shape
    b = random(m, r, seed=seed)
    q = orthonormal_columns(b)
    torch.testing.assert_close(q.T @ q, torch.eye(r, dtype=torch.double), atol=1e-6, rtol=0)
    torch.testing.assert_close(q @ (q.T @ b), b, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(orthonormal_columns(scale * b), q, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(orthonormal_columns(q), q, atol=1e-6, rtol=0)
    torch.testing.assert_close(orthonormal_rows(b.T), q.T)
    stack = torch.stack([b, b + 1])
    torch.testing.assert_close(orthonormal_columns(stack)[0], q, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("b", [torch.eye(5, 3).double(), torch.linalg.qr(random(5, 3))[0], random(5, 3), random(4, 1)])
def test_gradient_is_right_at_orthonormal_points_and_elsewhere(b):
    assert torch.autograd.gradcheck(orthonormal_columns, b.clone().requires_grad_())
    assert torch.autograd.gradgradcheck(orthonormal_columns, b.clone().requires_grad_())


def test_gradient_never_changes_the_scale():
    b = random(6, 3).requires_grad_()
    (gradient,) = torch.autograd.grad((orthonormal_columns(b) * random(6, 3, seed=1)).sum(), b)
    assert gradient.abs().max() > 0.01
    assert abs(float((gradient * b.detach()).sum())) < 1e-10


def test_dependent_columns_are_not_a_number():
    b = random(4, 2)
    b[:, 1] = 0
    assert orthonormal_columns(torch.stack([b, random(4, 2)])).isnan().flatten(1).any(1).tolist() == [True, False]


def test_frames_stay_orthonormal_under_autocast():
    b = torch.randn(64, 8, generator=generator())
    with torch.autocast("cpu", torch.bfloat16):
        q = orthonormal_columns(b)
    torch.testing.assert_close(q.T @ q, torch.eye(8), atol=1e-5, rtol=0)


def test_weights_that_can_not_be_read_are_refused():
    layer = a_layer(4, 4)
    layer.module.weight = nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(AttachError, match=r"layer 'layer.0' .* stores its weight as torch.uint8"):
        FrozenCore(r=2).factors(layer, generator())
