"""Moments of each noise mode: mean, variance per example, covariance across examples and across tokens."""

from __future__ import annotations

import pytest
import torch

from bayespeft.layers.weights import Flipped, Grouped, Shared, TokenFlipped
from bayespeft.variational.noise import spread

BATCH, TOKENS, R, S = 3, 2, 3, 40_000
MEAN = torch.linspace(-1, 1, R * R).reshape(1, R, R)
OMEGA = torch.linspace(0.2, 1.0, R * R).reshape(1, R, R)
U = torch.randn(BATCH, TOKENS, R, generator=torch.Generator().manual_seed(3))


def outputs(noise: str) -> torch.Tensor:
    """S independent batches of C u: (S, batch, tokens, R)."""
    results = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(S // 1000):
            for _ in range(1000):
                shape = (BATCH, 1, R, R) if noise == "example" else (1, R, R)
                value = MEAN + OMEGA * torch.randn(shape)
                results.append(spread(noise, value, MEAN, 0, BATCH).linear(U))
    return torch.stack(results)


def test_flipout_gives_each_example_signs_of_its_own_at_both_ends():
    """Shared by the batch, either end's would leave each example's law as it is, and the gradient's variance higher."""
    weight = spread("flipout", MEAN + OMEGA, MEAN, 0, 400)
    assert isinstance(weight, Flipped)
    assert weight.sign_out is not None
    for signs in (weight.sign_out, weight.sign_in):
        assert signs.shape == (400, R)
        assert set(signs.unique().tolist()) == {-1.0, 1.0}
        # The mean over examples is zero within five standard errors; shared signs have a mean of one or minus one.
        assert (signs.mean(0).abs() < 5 / 400**0.5).all()


def test_flipout_signs_fit_the_two_ends_of_a_matrix_that_is_not_square_and_the_one_of_a_vector():
    wide = spread("flipout", torch.ones(1, 2, 5), torch.zeros(1, 2, 5), 0, BATCH)
    assert wide.sign_out.shape == (BATCH, 2)
    assert wide.sign_in.shape == (BATCH, 5)
    vector = spread("flipout", torch.ones(1, 5), torch.zeros(1, 5), 0, BATCH)
    assert vector.sign_out is None
    assert vector.sign_in.shape == (BATCH, 5)


@pytest.fixture(scope="module", params=["batch", "example", "flipout", "token"])
def sampled(request) -> tuple[str, torch.Tensor]:
    return request.param, outputs(request.param)


def covariance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).mean(0)


def tolerance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Five standard errors of a sample covariance."""
    a, b = a - a.mean(0), b - b.mean(0)
    return 5 * (a * b).std(0) / S**0.5


def test_mean_is_that_of_the_mean_weight(sampled):
    _, z = sampled
    expected = U @ MEAN[0].T
    assert ((z.mean(0) - expected).abs() < 5 * z.std(0) / S**0.5).all()


def test_variance_of_each_example_is_omega_squared_u_squared(sampled):
    _, z = sampled
    expected = U**2 @ (OMEGA[0] ** 2).T
    assert ((covariance(z, z) - expected).abs() < tolerance(z, z)).all()


def test_covariance_across_examples(sampled):
    noise, z = sampled
    a, b = z[:, 0, 0], z[:, 1, 0]
    expected = (U[0, 0] * U[1, 0]) @ (OMEGA[0] ** 2).T if noise == "batch" else torch.zeros(R)
    assert ((covariance(a, b) - expected).abs() < tolerance(a, b)).all()


def test_covariance_across_tokens_of_one_example(sampled):
    noise, z = sampled
    a, b = z[:, 0, 0], z[:, 0, 1]
    full = (U[0, 0] * U[0, 1]) @ (OMEGA[0] ** 2).T
    assert full.abs().max() > 0.1, "the test must be able to tell the modes apart"
    # Signs for each token make a draw that is not one network: the tokens of a sentence decorrelate.
    expected = torch.zeros(R) if noise == "token" else full
    assert ((covariance(a, b) - expected).abs() < tolerance(a, b)).all()


def test_each_mode_has_its_weight():
    value = MEAN + OMEGA
    kinds = {noise: type(spread(noise, value, MEAN, 0, BATCH)) for noise in ("batch", "flipout", "token")}
    assert kinds == {"batch": Shared, "flipout": Flipped, "token": TokenFlipped}
    assert type(spread("example", value.expand(BATCH, 1, R, R), MEAN, 0, BATCH)) is Grouped
