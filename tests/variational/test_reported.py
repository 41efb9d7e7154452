"""A KL without a formula: its Monte Carlo estimate against formulas and quadrature, its gradient, and what is said of it."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters import Core
from bayespeft.errors import GuideError
from bayespeft.gaussians import Diagonal, Full, LowRank
from bayespeft.guides import FullCovariance, MeanField, Point
from bayespeft.guides.mean_field import MeanFieldGuide
from bayespeft.likelihoods import Regression
from bayespeft.priors import Ard, Normal, Prior
from bayespeft.training.loop import run
from bayespeft.variational.kl import DRAWS, check_kl, closed_form, estimate, objective_kl
from tests.training.helpers import Direct, problem
from tests.variational.flows import Flow


class Heavy(Prior):
    """Student-t with three degrees of freedom: no Gaussian has a formula against it."""

    closed_form: ClassVar[bool] = False
    scale: float = 0.3

    def distribution(self, center: Tensor) -> Distribution:
        law = dist.StudentT(center.new_tensor(3.0), center, center.new_tensor(self.scale))
        return law.expand(center.shape).to_event(center.dim())


class Sparse(Prior):
    """Laplace: torch has a normal's KL to it."""

    scale: float = 0.3

    def distribution(self, center: Tensor) -> Distribution:
        return dist.Laplace(center, center.new_tensor(self.scale)).expand(center.shape).to_event(center.dim())


def full(generator: torch.Generator) -> Full:
    root = torch.randn(2, 3, 3, generator=generator).tril(-1) * 0.3 + torch.eye(3)
    return Full(torch.randn(2, 3, generator=generator), 0.4 * root)


def test_a_normal_against_laplace_is_exact_for_every_covariance():
    """The total correlation and the marginals: each normal's KL to Laplace is an integral that quadrature knows."""
    generator = torch.Generator().manual_seed(0)
    q = full(generator)
    p = Sparse().distribution(torch.zeros(2, 3))
    found = kl_divergence(q, p)
    sd = q.variance.sqrt().double().numpy()
    expected = 0.0
    for mean, std in zip(q.loc.double().numpy().ravel(), sd.ravel(), strict=True):

        def integrand(w, mean=mean, std=std):
            log_q = -0.5 * ((w - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))
            return math.exp(log_q) * (log_q + abs(w) / 0.3 + math.log(0.6))

        expected += quad(integrand, mean - 12 * std, mean + 12 * std, points=[0.0, mean], limit=200)[0]
    covariance = q.sqrt_matvec(torch.eye(3)[:, None].expand(3, 2, 3)).double().permute(1, 2, 0)
    dense = covariance @ covariance.mT
    expected += 0.5 * float((dense.diagonal(dim1=-2, dim2=-1).log().sum(-1) - torch.logdet(dense)).sum())
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("family", ["diagonal", "full", "low_rank"])
def test_a_formula_for_one_number_serves_every_family_and_agrees_with_monte_carlo(family):
    generator = torch.Generator().manual_seed(1)
    q = {
        "diagonal": lambda: Diagonal(torch.randn(2, 3, generator=generator), torch.full((2, 3), 0.4)),
        "full": lambda: full(generator),
        "low_rank": lambda: LowRank(
            torch.zeros(2, 3), torch.full((2, 3), 0.3), torch.randn(2, 3, 1, generator=generator)
        ),
    }[family]()
    p = Sparse().distribution(torch.zeros(2, 3))
    exact, found = closed_form(q, p), estimate(q, p, 20_000)
    assert exact is not None
    assert found.error is not None
    assert found.nats.shape == (2,)
    assert abs(float(found.nats.sum()) - float(exact)) < 5 * found.error


def test_the_estimate_is_the_integral_within_its_standard_error():
    q = dist.Normal(torch.tensor([0.3]), 0.5).to_event(1)
    p = dist.StudentT(torch.tensor([3.0]), 0.0, 0.3).to_event(1)

    def integrand(w):
        value = torch.tensor([w], dtype=torch.double)
        log_q = float(dist.Normal(0.3, 0.5).log_prob(value))
        return math.exp(log_q) * (log_q - float(dist.StudentT(3.0, 0.0, 0.3).log_prob(value)))

    found = estimate(q, p, 50_000)
    expected = quad(integrand, -8, 8)[0]
    assert abs(float(found.nats) - expected) < 4 * found.error
    assert found.error < 0.01


def test_the_standard_error_is_the_scatter_of_estimates():
    q = dist.Normal(torch.full((4, 5), 0.2), 0.3).to_event(2)
    p = Heavy().distribution(torch.zeros(4, 5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        values = q.rsample((200, DRAWS))
    means = (q.log_prob(values) - p.log_prob(values)).mean(1)
    assert estimate(q, p).error == pytest.approx(float(means.std()), rel=0.35)


def test_an_estimate_leaves_the_random_state_and_is_the_same_each_time():
    q, p = dist.Normal(torch.zeros(3, 2), 0.3).to_event(2), Heavy().distribution(torch.zeros(3, 2))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first, again = estimate(q, p), estimate(q, p)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first.nats, again.nats)
    assert first.error == again.error


def test_a_heavy_prior_finds_the_mode_that_quadrature_finds():
    """One number, one observation: the best normal under a Student-t prior, from the ELBO by quadrature."""
    x, y = torch.ones(1, 1), torch.tensor([[1.0]])
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False))
    torch.nn.init.zeros_(network[0].weight)
    train = TrainConfig(steps=400, batch_size=1, lr=0.05, variational_lr=0.05, warmup=0.0, clip=0.0)
    spec = MeanField(noise="batch", init_std=(0.5, 0.5))
    with problem(
        network, (x, y), Direct(), spec, latent_prior=Heavy(), likelihood=Regression(noise=0.5), train=train
    ) as p:
        run(p)
        latent = p.joint_guide.latent
        assert isinstance(latent, MeanFieldGuide)
        mean, std = (float(value["W_1x1"].detach()) for value in (latent.mean(), latent.std()))
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    grid = torch.from_numpy(nodes)

    def bound(m: float, s: float) -> float:
        w = m + s * grid
        log_joint = dist.StudentT(3.0, 0.0, 0.3).log_prob(w) + dist.Normal(1.0, 0.5).log_prob(w)
        return float((torch.from_numpy(weights) * log_joint).sum() / math.sqrt(2 * math.pi)) + math.log(s)

    best = max(bound(m, s) for m in np.linspace(-0.2, 1.2, 141) for s in np.linspace(0.1, 0.6, 51))
    assert bound(mean, std) == pytest.approx(best, abs=0.02)


def test_what_claims_a_formula_and_has_none_is_refused_with_the_three_ways_out():
    q = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    p = dist.StudentT(torch.full((2,), 3.0)).to_event(1)
    with pytest.raises(
        GuideError, match=r"'C'.*Normal against StudentT.*register_kl.*another prior.*closed_form = False"
    ):
        check_kl("C", q, p)
    check_kl("C", q, p, estimable=True)


def test_a_law_without_reparameterised_draws_can_have_no_monte_carlo_kl():
    q = dist.Poisson(torch.ones(2)).to_event(1)
    with pytest.raises(GuideError, match=r"Poisson has no reparameterised draws"):
        check_kl("C", q, dist.Normal(torch.zeros(2), 1.0).to_event(1), estimable=True)


def test_a_prior_that_learns_from_moments_needs_a_guide_that_has_them(mlp, xy):
    with (
        pytest.raises(GuideError, match=r"prior 'ard' learns a scale.*closed form"),
        problem(mlp, xy, Core(r=2), Flow(), latent_prior=Ard()),
    ):
        pass


def test_points_need_a_density_only(mlp, xy):
    with problem(mlp, xy, Core(r=2), Point(), latent_prior=Heavy()) as p:
        assert p.prior_terms().kl_error is None
        assert objective_kl(p.joint_guide.q()["C_2x2"], p.joint_guide.priors()["C_2x2"]).requires_grad


@pytest.mark.filterwarnings("ignore:.*can be used, but not saved")
@pytest.mark.parametrize(
    ("guide", "prior"), [(MeanField(), Heavy()), (FullCovariance(), Heavy()), (Flow(), Normal(scale=0.3))], ids=str
)
def test_the_standard_error_is_said_wherever_the_kl_is(guide, prior, mlp, xy, tmp_path):
    method = bayespeft.methods()["melora"].replace(guide=guide, latent_prior=prior, adapter=Core(r=3))
    train = TrainConfig(steps=5, batch_size=20)
    posterior = bayespeft.fit(mlp, xy, method, targets="all-linear", train=train, progress=False)
    record, summary = posterior.history.records[-1], posterior.summary()
    assert record.kl_error is not None
    assert summary.kl == pytest.approx(record.kl, rel=1e-5)
    assert summary.kl_error == pytest.approx(record.kl_error, rel=1e-5)
    assert sum(layer.kl for layer in summary.layers) == pytest.approx(summary.kl, rel=1e-5)
    assert f"{summary.kl:.1f} ± {summary.kl_error:.1f}" in repr(summary)
    assert "Monte Carlo estimate" in " ".join(repr(summary).split())
    assert record.kl_text == f"{record.kl:.1f} ± {record.kl_error:.1f}"
    report = posterior.report(xy, draws=2, resamples=20)
    assert report.training.kl_error == record.kl_error
    report.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"the last one {record.kl:.1f} ± {record.kl_error:.1f} nats" in page


def test_a_formula_has_no_standard_error(mlp, xy):
    posterior = bayespeft.fit(mlp, xy, targets="all-linear", train=TrainConfig(steps=2), progress=False)
    assert posterior.summary().kl_error is None
    assert posterior.history.records[-1].kl_error is None
    assert "Monte Carlo" not in repr(posterior.summary())
