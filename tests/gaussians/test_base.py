"""Every family against the dense multivariate normal that it is: KL, density, square root, moments."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from hypothesis import given
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from bayespeft.gaussians import Diagonal, Full, LowRank, MatrixNormal, Rotated, Rows, kl_by_layer
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.normal import Normal as NormalPrior
from tests.gaussians.families import FAMILIES, covariance, dense, prior, randn, rounding, seeded, seeds, shapes, std

families = pytest.mark.parametrize("family", FAMILIES)


@families
@given(shape=shapes, seed=seeds)
def test_kl_is_that_of_dense_multivariate_normals_layer_by_layer(family, shape, seed):
    generator = seeded(seed)
    q, p = FAMILIES[family](shape, generator), prior(shape, generator)
    flat = p.base_dist.loc.reshape(shape[0], -1)
    wide = torch.diag_embed(p.base_dist.scale.reshape(shape[0], -1) ** 2)
    expected = kl_divergence(dense(q), MultivariateNormal(flat, wide))
    tolerance = rounding(q, expected)
    assert ((kl_by_layer(q, p) - expected).abs() <= tolerance).all()
    assert abs(float(kl_divergence(q, p) - expected.sum())) <= float(tolerance.sum())
    assert (expected >= 0).all()


@families
@pytest.mark.parametrize("seed", range(4))
def test_kl_is_that_of_monte_carlo_in_the_right_direction(family, seed):
    generator = seeded(seed)
    q, p = FAMILIES[family]((2, 2, 3), generator), prior((2, 2, 3), generator)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        draws = q.sample((20_000,))
    ratio = q.log_prob(draws) - p.log_prob(draws)
    standard_error = float(ratio.std()) / math.sqrt(len(ratio))
    assert abs(float(kl_divergence(q, p)) - float(ratio.mean())) < 4 * standard_error


@families
@given(shape=shapes, seed=seeds)
def test_kl_is_zero_at_the_prior_only(family, shape, seed):
    generator = seeded(seed)
    mean, scale = randn(generator, *shape), std(generator, *shape)
    size = torch.Size(shape[1:]).numel()
    p = dist.Normal(mean, scale).to_event(len(shape))
    flat = scale.reshape(shape[0], size)
    # A matrix normal is any diagonal Gaussian only where variances have rank 1: at a single column they do.
    column = (shape[0], size)
    same = {
        "diagonal": lambda: (Diagonal(mean, scale), p),
        "full": lambda: (Full(mean, torch.diag_embed(flat)), p),
        "rows": lambda: (Rows(mean, torch.diag_embed(scale if len(shape) > 1 else scale.unsqueeze(-1))), p),
        "low_rank": lambda: (LowRank(mean, scale, torch.zeros(shape[0], size, 2).double()), p),
        "matrix_normal": lambda: (
            MatrixNormal(mean.reshape(column), torch.diag_embed(flat), torch.ones(shape[0], 1, 1).double()),
            dist.Normal(mean.reshape(column), flat).to_event(2),
        ),
        "rotated": lambda: (
            Rotated(
                mean.reshape(column),
                flat.unsqueeze(-1),
                torch.eye(size).double().repeat(shape[0], 1, 1),
                -torch.ones(shape[0], 1, 1).double(),
            ),
            dist.Normal(mean.reshape(column), flat).to_event(2),
        ),
    }
    q, p = same[family]()
    assert float(kl_divergence(q, p)) == pytest.approx(0, abs=1e-12)
    moved = dist.Normal(p.base_dist.loc + 0.1 * p.base_dist.scale, p.base_dist.scale).to_event(q.event_dim)
    assert float(kl_divergence(q, moved)) == pytest.approx(0.005 * q.loc.numel(), rel=1e-9)


@families
@given(shape=shapes, seed=seeds)
def test_log_density_is_the_dense_one(family, shape, seed):
    generator = seeded(seed)
    q = FAMILIES[family](shape, generator)
    value = randn(generator, 4, *shape)
    expected = dense(q).log_prob(value.reshape(4, shape[0], -1))
    assert ((q.log_prob(value) - expected.sum(-1)).abs() <= rounding(q, expected).sum(-1)).all()
    by_layer = q.log_prob_by_layer(value)
    assert by_layer.shape == expected.shape
    assert ((by_layer - expected).abs() <= rounding(q, expected)).all()


@families
@given(shape=shapes, seed=seeds)
def test_pushing_the_identity_gives_the_covariance(family, shape, seed):
    q = FAMILIES[family](shape, seeded(seed))
    identity = torch.eye(q.width).double().unsqueeze(1).expand(-1, shape[0], -1)
    root = q.sqrt_matvec(identity).reshape(q.width, shape[0], -1).permute(1, 2, 0)  # (layers, d, width)
    torch.testing.assert_close(root @ root.mT, covariance(q))
    torch.testing.assert_close(q.variance.reshape(shape[0], -1), covariance(q).diagonal(dim1=-2, dim2=-1))


@families
@given(shape=shapes, seed=seeds)
def test_pull_is_the_adjoint_of_push(family, shape, seed):
    generator = seeded(seed)
    q = FAMILIES[family](shape, generator)
    noise, gradient = randn(generator, 2, 3, shape[0], q.width), randn(generator, 2, 3, *shape)
    pushed, pulled = q.sqrt_matvec(noise), q.sqrt_rmatvec(gradient)
    assert pushed.shape == gradient.shape
    assert pulled.shape == noise.shape
    dims = tuple(range(2, gradient.dim()))
    torch.testing.assert_close((pushed * gradient).sum(dims), (noise * pulled).sum((-1, -2)), rtol=1e-9, atol=1e-9)


@families
def test_draws_have_the_moments(family):
    q, n = FAMILIES[family]((2, 2, 3), seeded(3)), 40_000
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = q.expand((5,)).rsample((n // 5,)).reshape(n, 2, 6)
    off = draws - q.loc.reshape(2, 6)
    assert (off.mean(0).abs() < 4 * q.stddev.reshape(2, 6) / n**0.5).all()
    products = off.unsqueeze(-1) * off.unsqueeze(-2)
    assert ((products.mean(0) - covariance(q)).abs() < 4 * products.std(0) / n**0.5).all()


@families
def test_expanding_repeats_and_shares(family):
    generator = seeded(1)
    q, p = FAMILIES[family]((3, 2, 2), generator), prior((3, 2, 2), generator)
    wide, value = q.expand((4, 5)), randn(generator, 4, 5, 3, 2, 2)
    assert wide.loc is q.loc
    assert (wide.batch_shape, wide.event_shape, q.batch_shape) == ((4, 5), (3, 2, 2), ())
    assert wide.mean.shape == wide.variance.shape == wide.sample().shape == (4, 5, 3, 2, 2)
    assert wide.sample((7,)).shape == (7, 4, 5, 3, 2, 2)
    torch.testing.assert_close(wide.log_prob(value), q.log_prob(value))
    torch.testing.assert_close(wide.log_prob(value[0, 0]), q.log_prob(value[0, 0]).expand(4, 5))
    kl = kl_divergence(wide, p.expand((4, 5)))
    assert kl.shape == (4, 5)
    torch.testing.assert_close(kl, kl_divergence(q, p).expand(4, 5))
    with pytest.raises(ValueError, match="can't expand"):
        wide.expand((5,))


@families
def test_kl_against_a_prior_that_differs_along_the_batch(family):
    generator = seeded(2)
    q = FAMILIES[family]((3, 2, 2), generator)
    mean, scale = randn(generator, 4, 3, 2, 2), std(generator, 4, 1, 2, 1)
    kl = kl_divergence(q.expand((4,)), dist.Normal(mean, scale).to_event(3))
    single = [kl_divergence(q, dist.Normal(m, s).to_event(3)) for m, s in zip(mean, scale, strict=True)]
    torch.testing.assert_close(kl, torch.stack(single))


@families
@pytest.mark.parametrize("make", [NormalPrior(scale=0.3), FanIn(scale=0.3)])
def test_priors_of_the_house_have_a_closed_form(family, make):
    q = FAMILIES[family]((2, 3, 2), seeded(0))
    p = make.distribution(torch.ones(2, 3, 2).double())
    assert kl_by_layer(q, p).shape == (2,)
    torch.testing.assert_close(kl_divergence(q, Independent(Independent(p.base_dist, 1), 2)), kl_divergence(q, p))
    torch.testing.assert_close(
        kl_divergence(q, Independent(Normal(p.base_dist.loc, p.base_dist.scale), 3)), kl_divergence(q, p)
    )


@families
def test_other_priors_and_shapes_have_none(family):
    q = FAMILIES[family]((2, 3), seeded(0))
    for p in (
        dist.StudentT(torch.full((2, 3), 3.0)).to_event(2),
        dist.Normal(torch.zeros(2, 4), 1.0).to_event(2),
        dist.Normal(torch.zeros(2, 3), 1.0).to_event(1),
    ):
        with pytest.raises(NotImplementedError, match=r"no closed-form KL|No KL\(p"):
            kl_divergence(q, p)


@families
def test_gradients_reach_every_parameter_through_draws_and_kl(family):
    generator = seeded(4)
    q, p = FAMILIES[family]((2, 2, 2), generator), prior((2, 2, 2), generator)
    tensors = [getattr(q, name).requires_grad_() for name in q.arg_constraints]
    again = type(q)(*tensors)
    for scalar in (again.expand((3,)).rsample().square().sum(), kl_divergence(again, p)):
        grads = torch.autograd.grad(scalar, tensors, retain_graph=True)
        assert all(torch.isfinite(grad).all() and grad.abs().sum() > 0 for grad in grads)
