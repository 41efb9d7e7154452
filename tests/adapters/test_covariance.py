"""What a diagonal q over an adapter's latents says about the weights: covariances, marginal variances, ranks.

Each closed form is compared with J diag(std^2) J^T, J the dense Jacobian of `delta`; vec stacks columns.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import jacrev
from torch.linalg import matrix_rank

from bayespeft.adapters.core import Core
from bayespeft.adapters.frames import orthonormal_columns, orthonormal_rows
from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.adapters.lora import Lora
from bayespeft.adapters.masked_lora import MaskedLora
from bayespeft.adapters.orthonormal_core import OrthonormalCore
from bayespeft.adapters.rank_one import RankOne
from bayespeft.adapters.scaled_rows import ScaledRows
from tests.adapters.helpers import a_layer, covariance, random_values, vec

CORES = [Core, FrozenCore, OrthonormalCore]
LINEAR = [(Core, "C"), (FrozenCore, "C"), (OrthonormalCore, "C"), (ScaledRows, "z"), (Lora, "A"), (MaskedLora, "z")]

# Rank r, and sides m, n of at least r.
shapes = st.integers(1, 4).flatmap(lambda r: st.tuples(st.just(r), st.integers(r, 6), st.integers(r, 6)))
seeds = st.integers(0, 1000)


def kron(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The Kronecker product of two matrices, however they are laid out (torch.kron refuses some transposes)."""
    return torch.einsum("ij,kl->ikjl", a, b).reshape(len(a) * len(b), -1)


def stds(like: torch.Tensor, seed: int) -> torch.Tensor:
    """Standard deviations between 0.1 and 1, of the shape of a factor."""
    return 0.1 + 0.9 * torch.rand(like.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def case(cls, shape, seed: int):
    r, m, n = shape
    layer = a_layer(m, n, seed)
    adapter = cls(r=r, alpha=3.0)
    return adapter, random_values(adapter, layer, seed), layer, 3.0 / r


def frames(cls, values):
    """The matrices on both sides of the core."""
    if cls is OrthonormalCore:
        return orthonormal_columns(values["B"]), orthonormal_rows(values["A"])
    return values["B"], values["A"]


@pytest.mark.parametrize("cls", CORES)
@given(shapes, seeds)
def test_core_is_a_kronecker_product_around_the_variances(cls, shape, seed):
    adapter, values, layer, s = case(cls, shape, seed)
    omega = stds(values["C"], seed)
    found = covariance(adapter, values, "C", omega, layer)
    b, a = frames(cls, values)
    outer = kron(a.T, b)
    torch.testing.assert_close(found, s**2 * outer @ torch.diag(vec(omega) ** 2) @ outer.T)
    variances = s**2 * (b * b) @ (omega * omega) @ (a * a)
    torch.testing.assert_close(found.diag(), vec(variances))


@given(shapes, seeds)
def test_lora_with_a_latent_has_independent_columns(shape, seed):
    adapter, values, layer, s = case(Lora, shape, seed)
    omega = stds(values["A"], seed)
    outer = kron(torch.eye(layer.in_features, dtype=torch.double), values["B"])
    found = covariance(adapter, values, "A", omega, layer)
    torch.testing.assert_close(found, s**2 * outer @ torch.diag(vec(omega) ** 2) @ outer.T)
    m = layer.out_features
    between_columns = 1 - kron(torch.eye(layer.in_features), torch.ones(m, m)).double()
    assert (found * between_columns).abs().max() < 1e-12


@given(shapes, seeds)
def test_lora_with_b_latent_has_independent_rows(shape, seed):
    adapter, values, layer, s = case(Lora, shape, seed)
    omega = stds(values["B"], seed)
    outer = kron(values["A"].T, torch.eye(layer.out_features, dtype=torch.double))
    found = covariance(adapter, values, "B", omega, layer)
    torch.testing.assert_close(found, s**2 * outer @ torch.diag(vec(omega) ** 2) @ outer.T)


@given(shapes, seeds)
def test_scaled_rows_is_a_sum_of_rank_one_terms(shape, seed):
    adapter, values, layer, s = case(ScaledRows, shape, seed)
    sigma = stds(values["z"], seed)
    terms = [vec(torch.outer(b, v)) for b, v in zip(values["B"].T, values["V"], strict=True)]
    expected = s**2 * sum(sd**2 * torch.outer(t, t) for sd, t in zip(sigma, terms, strict=True))
    torch.testing.assert_close(covariance(adapter, values, "z", sigma, layer), expected)


@given(shapes, seeds)
def test_masked_lora_moves_each_column_as_a_whole(shape, seed):
    adapter, values, layer, s = case(MaskedLora, shape, seed)
    sigma = stds(values["z"], seed)
    columns = s * (values["B"] @ values["A"]).T
    expected = torch.block_diag(*[sd**2 * torch.outer(c, c) for sd, c in zip(sigma, columns, strict=True)])
    torch.testing.assert_close(covariance(adapter, values, "z", sigma, layer), expected)


def test_ladder_of_ranks():
    r, m, n = 3, 7, 6
    expected = {
        (ScaledRows, "z"): r,
        (Core, "C"): r**2,
        (FrozenCore, "C"): r**2,
        (OrthonormalCore, "C"): r**2,
        (MaskedLora, "z"): n,
        (Lora, "A"): n * r,
        (Lora, "B"): m * r,
    }
    found = {}
    for cls, latent in expected:
        adapter, values, layer, _ = case(cls, (r, m, n), 0)
        found[cls, latent] = int(matrix_rank(covariance(adapter, values, latent, stds(values[latent], 0), layer)))
    assert found == expected


@pytest.mark.parametrize(("cls", "latent"), LINEAR)
@given(shapes, seeds, st.floats(-2, 2), st.floats(-2, 2))
def test_delta_is_linear_in_the_latent(cls, latent, shape, seed, alpha, beta):
    adapter, values, layer, _ = case(cls, shape, seed)
    first, second = values[latent], random_values(adapter, layer, seed + 1)[latent]

    def delta(value):
        return adapter.delta({**values, latent: value}, layer)

    torch.testing.assert_close(delta(alpha * first + beta * second), alpha * delta(first) + beta * delta(second))


@given(shapes, seeds)
def test_rows_of_core_times_a_and_the_covariance_that_was_published(shape, seed):
    """Q = CA has independent rows, row i ~ N((MA)_i, A^T diag(Omega_i^2) A); "Omega |A|" over-states every marginal."""
    r, _, n = shape
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(r, n, generator=generator, dtype=torch.double)
    c = torch.randn(r, r, generator=generator, dtype=torch.double)
    omega = stds(c, seed)
    jacobian = jacrev(lambda c: (c @ a).flatten())(c).flatten(1) * omega.flatten()
    found = jacobian @ jacobian.T
    rows = [a.T @ torch.diag(w**2) @ a for w in omega]
    torch.testing.assert_close(found, torch.block_diag(*rows))
    assert all(int(matrix_rank(row)) <= r for row in rows)
    published = omega @ a.abs()
    std = found.diag().sqrt().reshape(r, n)
    assert (std <= published * (1 + 1e-12)).all()
    if r > 1:
        assert (std < published).all(), "a sum of standard deviations is the standard deviation of no sum"
        assert n == 1 or rows[0][0, 1].abs() > 0, "columns are correlated, which a diagonal covariance can't say"


@given(shapes, seeds, st.floats(0.1, 10), st.floats(0.1, 10))
def test_only_orthonormal_frames_leave_the_uncertainty_to_the_core(shape, seed, b, a):
    """E |delta - E delta|^2 = s^2 |Omega|^2 whatever the scale of B and A; the plain core's follows them."""
    adapter, values, layer, s = case(OrthonormalCore, shape, seed)
    omega = stds(values["C"], seed)
    stretched = {**values, "B": b * values["B"], "A": a * values["A"]}
    torch.testing.assert_close(adapter.delta(stretched, layer), adapter.delta(values, layer))
    total = covariance(adapter, stretched, "C", omega, layer).trace()
    torch.testing.assert_close(total, s**2 * (omega**2).sum())
    plain = Core(r=shape[0])
    before, after = (covariance(plain, v, "C", omega, layer).trace() for v in (values, stretched))
    torch.testing.assert_close(after, (a * b) ** 2 * before)


def test_rank_one_has_the_moments_of_a_product():
    """W_ij = W0_ij b_i a_j with independent normals: E W = W0 o (E b E a^T), E W^2 = W0^2 o (E b^2 E (a^2)^T)."""
    layer, adapter, n = a_layer(3, 4), RankOne(), 40_000
    values = random_values(adapter, layer)
    std = {name: stds(value, 5) for name, value in values.items()}
    generator = torch.Generator().manual_seed(0)
    draws = {
        k: v + std[k] * torch.randn(n, *v.shape, generator=generator, dtype=torch.double) for k, v in values.items()
    }
    w = torch.func.vmap(lambda a, b: adapter.delta({"a": a, "b": b}, layer))(draws["a"], draws["b"])
    w0 = layer.weight().double()
    mean = w0 * torch.outer(values["b"], values["a"])
    square = w0**2 * torch.outer(values["b"] ** 2 + std["b"] ** 2, values["a"] ** 2 + std["a"] ** 2)
    absolute = w + w0
    for found, expected in ((absolute, mean), (absolute**2, square)):
        assert ((found.mean(0) - expected).abs() < 4.5 * found.std(0) / n**0.5).all()
