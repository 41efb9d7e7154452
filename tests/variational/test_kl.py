"""The closed-form KL of mean field against Monte Carlo, torch, and the formula of the papers."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, kl_divergence

from bayespeft.errors import GuideError
from bayespeft.guides.mean_field import MeanField
from bayespeft.layers.factors import StackedFactor
from bayespeft.priors.normal import Normal
from bayespeft.utils.randomness import seeded
from bayespeft.variational import kl as module
from bayespeft.variational.kl import check_kl, objective_kl

shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
scales = st.floats(0.05, 3.0)
seeds = st.integers(0, 2**31)


def random_case(shape: tuple[int, ...], prior_sd: float, std: float, seed: int):
    generator = torch.Generator().manual_seed(seed)
    init, center = torch.randn(2, *shape, generator=generator)
    stack = StackedFactor("C", "C", tuple("s" * shape[0]), "latent", init, Normal(scale=prior_sd), center)
    spec = MeanField(init_std=(std / 2, std))
    guide = spec.build([stack], generator)
    return guide.q()["C"], stack.prior.distribution(center), guide


def kl(q, p) -> float:
    return float(kl_divergence(q, p).detach())


@given(shapes, scales, scales, seeds)
def test_kl_is_the_formula_of_the_paper(shape, prior_sd, std, seed):
    q, p, guide = random_case(shape, prior_sd, std, seed)
    mean, w = guide.loc["C"].detach().double(), guide.std()["C"].detach().double()
    center = p.base_dist.loc.double()
    formula = (torch.log(prior_sd / w) + (w**2 + (mean - center) ** 2) / (2 * prior_sd**2) - 0.5).sum()
    assert kl(q, p) == pytest.approx(float(formula), rel=1e-4, abs=1e-4)


@given(shapes, scales, scales, seeds)
def test_kl_is_that_of_dense_multivariate_normals(shape, prior_sd, std, seed):
    q, p, guide = random_case(shape, prior_sd, std, seed)
    mean, w = guide.loc["C"].detach().double().flatten(), guide.std()["C"].detach().double().flatten()
    dense_q = MultivariateNormal(mean, torch.diag(w**2))
    dense_p = MultivariateNormal(
        p.base_dist.loc.double().flatten(), prior_sd**2 * torch.eye(len(w), dtype=torch.double)
    )
    assert kl(q, p) == pytest.approx(kl(dense_q, dense_p), rel=1e-4, abs=1e-4)


def test_what_is_trained_where_there_is_no_formula_is_the_kl_on_average(monkeypatch):
    """Of all layers together, within 4 standard errors."""
    q, p, _ = random_case((3, 2, 2), prior_sd=0.5, std=0.3, seed=0)
    truth = kl(q, p)
    monkeypatch.setattr(module, "closed_form", lambda *_: None)
    with seeded(0), torch.no_grad():
        found = torch.stack([objective_kl(q, p) for _ in range(2000)])
    assert float(found.mean()) == pytest.approx(truth, abs=4 * float(found.std()) / len(found) ** 0.5)
    assert float(found.std()) / len(found) ** 0.5 < 0.02 * truth


@given(shapes, scales, scales, seeds)
def test_kl_is_that_of_monte_carlo_in_the_right_direction(shape, prior_sd, std, seed):
    q, p, _ = random_case(shape, prior_sd, std, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        draws = q.sample((20_000,))
    ratio = (q.log_prob(draws) - p.log_prob(draws)).detach().double()
    standard_error = float(ratio.std() / math.sqrt(len(ratio)))
    assert abs(kl(q, p) - float(ratio.mean())) < 5 * standard_error + 1e-4


def test_direction_is_q_against_p():
    q = dist.Normal(torch.zeros(1), 0.1).to_event(1)
    p = dist.Normal(torch.zeros(1), 1.0).to_event(1)
    assert kl(q, p) == pytest.approx(math.log(10) + 0.005 - 0.5, rel=1e-5)
    assert kl(p, q) == pytest.approx(-math.log(10) + 50 - 0.5, rel=1e-5)


@given(shapes, scales, seeds)
def test_kl_is_zero_at_the_prior_and_positive_elsewhere(shape, sd, seed):
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(shape, generator=generator)
    p = Normal(scale=sd).distribution(center)
    assert kl(p, p) == pytest.approx(0, abs=1e-5)
    moved = Normal(scale=sd).distribution(center + 0.1 * sd)
    assert kl(moved, p) == pytest.approx(0.005 * center.numel(), rel=1e-2)


def test_gradient_of_the_square_parameter_is_stationary_at_the_prior_sd():
    prior_sd = 0.2
    g = torch.tensor([0.1, math.sqrt(prior_sd), 0.9], dtype=torch.double, requires_grad=True)
    kl = kl_divergence(dist.Normal(torch.zeros(3).double(), g**2), dist.Normal(torch.zeros(3).double(), prior_sd))
    (gradient,) = torch.autograd.grad(kl.sum(), g)
    expected = -2 / g + 2 * g**3 / prior_sd**2
    torch.testing.assert_close(gradient, expected.detach())
    assert abs(float(gradient[1])) < 1e-10


def test_point_under_a_normal_prior_costs_minus_log_density():
    value, p = torch.tensor([0.5, -1.0]), dist.Normal(torch.zeros(2), 0.5).to_event(1)
    assert kl(dist.Delta(value, event_dim=1), p) == pytest.approx(-float(p.log_prob(value)))


def test_a_missing_formula_is_an_error_that_names_the_site():
    q = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    p = dist.StudentT(torch.full((2,), 3.0)).to_event(1)
    with pytest.raises(GuideError, match=r"'C_2'.*no closed-form KL.*register"):
        check_kl("C_2", q, p)


def test_shapes_that_differ_are_an_error():
    with pytest.raises(GuideError, match="same event shape"):
        check_kl("C", dist.Normal(torch.zeros(2), 1.0).to_event(1), dist.Normal(torch.zeros(3), 1.0).to_event(1))


def test_a_kl_that_is_not_finite_is_an_error():
    q = dist.Normal(torch.full((2,), 1e30), 1.0).to_event(1)
    with pytest.raises(GuideError, match="check the prior's scale"):
        check_kl("C", q, dist.Normal(torch.zeros(2), 1e-20).to_event(1))
