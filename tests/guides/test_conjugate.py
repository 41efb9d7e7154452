"""Linear regression with known noise: each family finds the exact posterior, or its own best approximation of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from bayespeft.config import TrainConfig
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.full_covariance import FullCovariance
from bayespeft.guides.low_rank import LowRank
from bayespeft.guides.matrix_normal import MatrixNormal
from bayespeft.guides.mean_field import MeanField
from bayespeft.priors.normal import Normal
from bayespeft.training.loop import run
from tests.training.helpers import Direct, UnitNormal, problem

# Many rows of little information each, and small residuals: gradients of single steps then have little noise.
PRIOR_SD, ROWS, INPUTS, OUTPUTS = 0.7, 400, 3, 2
SIZE = INPUTS * OUTPUTS


def data() -> tuple[Tensor, Tensor]:
    """Correlated inputs, so that the posterior is correlated too; targets that the model's unit noise happened to spare."""
    generator = torch.Generator().manual_seed(0)
    x = 0.3 * torch.randn(ROWS, INPUTS, generator=generator) @ torch.tensor([[1.0, 0.7, 0], [0, 0.7, 0.5], [0, 0, 1]])
    weight = torch.randn(INPUTS, OUTPUTS, generator=generator)
    return x, x @ weight


def exact() -> MultivariateNormal:
    """The posterior over W (OUTPUTS x INPUTS), row by row: precision I kron (X^T X + I / sp^2)."""
    x, y = data()
    single = x.T @ x + torch.eye(INPUTS) / PRIOR_SD**2
    mean = torch.linalg.solve(single, x.T @ y).T.flatten()
    return MultivariateNormal(mean, precision_matrix=torch.kron(torch.eye(OUTPUTS), single))


def fitted(spec: GuideSpec, steps: int) -> MultivariateNormal:
    model = nn.Sequential(nn.Linear(INPUTS, OUTPUTS, bias=False))
    nn.init.zeros_(model[0].weight)
    train = TrainConfig(steps=steps, batch_size=ROWS, lr=0.05, variational_lr=0.05, clip=0)
    with problem(
        model, data(), Direct(), spec, latent_prior=Normal(scale=PRIOR_SD), likelihood=UnitNormal(), train=train
    ) as p:
        run(p)
        guide = p.joint_guide.latent
        (name,) = guide.mean()
        columns = guide.sqrt_matvec(torch.eye(guide.noise_size))[name].detach().reshape(-1, SIZE)
        return MultivariateNormal(guide.mean()[name].detach().flatten(), columns.T @ columns)


def test_the_exact_posterior_is_worth_recovering():
    covariance = exact().covariance_matrix
    std = covariance.diagonal().sqrt()
    correlation = covariance / std.outer(std)
    assert (correlation - torch.eye(SIZE)).abs().max() > 0.5


@pytest.mark.parametrize(
    "spec",
    [
        FullCovariance(init_std=(0.2, 0.2)),
        MatrixNormal(init_std=(0.2, 0.2)),
        LowRank(init_std=(0.2, 0.2), rank=SIZE),
    ],
    ids=lambda spec: spec.kind,
)
def test_families_that_hold_the_exact_posterior_find_its_mean_and_covariance(spec):
    q, p = fitted(spec, 400), exact()
    std = p.stddev
    # In units of the exact standard deviations; the noise of stochastic gradients leaves a few per cent.
    assert ((q.mean - p.mean) / std).abs().max() < 0.06
    assert ((q.covariance_matrix - p.covariance_matrix) / std.outer(std)).abs().max() < 0.1
    assert float(kl_divergence(q, p)) < 0.01


@pytest.mark.parametrize(
    "spec",
    [MeanField(init_std=(0.2, 0.2)), MatrixNormal(init_std=(0.2, 0.2), factors="diagonal")],
    ids=lambda spec: spec.kind,
)
def test_diagonal_families_find_the_mean_and_the_inverse_of_the_precision_s_diagonal(spec):
    # Here 1 / precision_ii are the same in every row: variances of rank 1, so a diagonal matrix normal holds them too.
    q, p = fitted(spec, 400), exact()
    expected = p.precision_matrix.diagonal().reciprocal()
    assert ((q.mean - p.mean) / p.stddev).abs().max() < 0.06
    assert (q.variance / expected - 1).abs().max() < 0.1
    gap = 0.5 * (p.precision_matrix.diagonal().log().sum() - torch.logdet(p.precision_matrix))
    assert float(kl_divergence(q, p)) == pytest.approx(float(gap), abs=0.01)
