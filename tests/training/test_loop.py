"""The loop recovers what can be computed exactly, and says so when it can't go on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bayespeft.config import TrainConfig
from bayespeft.errors import DataError, FitError
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.priors.normal import Normal
from bayespeft.training.loop import run
from tests.training.helpers import Direct, UnitNormal, problem

PRIOR_SD = 0.7


@pytest.fixture
def regression() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator) @ torch.tensor([[1.0, 0.6, 0], [0, 1, 0.5], [0, 0, 1]])
    y = x @ torch.tensor([[1.0], [-0.5], [0.3]]) + torch.randn(40, 1, generator=generator)
    model = nn.Sequential(nn.Linear(3, 1, bias=False))
    nn.init.zeros_(model[0].weight)
    return model, (x, y)


def exact(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior mean (3,) and precision (3, 3) of the weights."""
    precision = x.T @ x + torch.eye(3) / PRIOR_SD**2
    return torch.linalg.solve(precision, x.T @ y).flatten(), precision


@pytest.mark.parametrize("noise", ["batch", "example", "flipout"])
def test_conjugate_regression_is_recovered(regression, noise):
    model, (x, y) = regression
    train = TrainConfig(steps=1500, batch_size=40, lr=0.02, variational_lr=0.02, clip=0)
    spec = MeanField(noise=noise, init_std=(0.3, 0.3))
    with problem(
        model, (x, y), Direct(), spec, latent_prior=Normal(scale=PRIOR_SD), likelihood=UnitNormal(), train=train
    ) as p:
        run(p)
        mean, precision = exact(x, y)
        # The mean-field optimum: the exact mean, and the inverse of the precision's diagonal as variances.
        std = precision.diagonal().rsqrt()
        torch.testing.assert_close(p.joint_guide.latent.mean()["W_1x3"].detach().flatten(), mean, atol=0.02, rtol=0)
        torch.testing.assert_close(p.joint_guide.latent.std()["W_1x3"].detach().flatten(), std, atol=0.02, rtol=0)


def test_map_is_ridge_regression(regression):
    model, (x, y) = regression
    train = TrainConfig(steps=800, batch_size=40, lr=0.02, clip=0)
    with problem(
        model, (x, y), Direct(), Point(), latent_prior=Normal(scale=PRIOR_SD), likelihood=UnitNormal(), train=train
    ) as p:
        run(p)
        mean, _ = exact(x, y)
        torch.testing.assert_close(p.joint_guide.mean()["W_1x3"].detach().flatten(), mean, atol=2e-3, rtol=0)


def test_elbo_at_the_optimum_is_below_the_log_evidence_by_the_gap_of_mean_field(regression):
    model, (x, y) = regression
    train = TrainConfig(steps=1500, batch_size=40, lr=0.02, variational_lr=0.02, clip=0)
    with problem(
        model, (x, y), Direct(), MeanField(init_std=(0.3, 0.3)), latent_prior=Normal(scale=PRIOR_SD),
        likelihood=UnitNormal(), train=train,
    ) as p:  # fmt: skip
        run(p)
        batch = next(iter(p.examples.batches(40)))
        losses = torch.stack([p.loss(batch, 1.0)[0].detach() for _ in range(400)]) * 40
        covariance = torch.eye(40) + PRIOR_SD**2 * x @ x.T
        evidence = torch.distributions.MultivariateNormal(torch.zeros(40), covariance).log_prob(y.flatten())
        _, precision = exact(x, y)
        gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
        standard_error = losses.std() / 20
        assert abs(float(-losses.mean() - (evidence - gap))) < 4 * float(standard_error) + 0.05


def test_history_states_steps_epochs_and_terms(mlp, xy):
    with problem(mlp, xy, Direct(), MeanField(), train=TrainConfig(epochs=2, batch_size=16)) as p:
        history = run(p, validate=lambda: {"nll": 1.0})
        assert history.steps == 8
        assert [record.epoch for record in history.records if record.validation] == [1, 2]
        last = history.records[-1]
        assert last.loss == pytest.approx(last.nll + last.kl / 60, rel=0.02)
        assert history.peak_memory_bytes > 0


@pytest.mark.parametrize("accumulate", [1, 3, 8])
def test_epochs_are_passes_over_the_data_whatever_a_step_takes(mlp, xy, accumulate):
    """Four batches a pass: a step of three is three quarters of a pass, one of eight is two passes."""
    with problem(mlp, xy, Direct(), Point(), train=TrainConfig(steps=4, batch_size=16, accumulate=accumulate)) as p:
        history = run(p)
        assert [record.epoch for record in history.records] == [step * accumulate / 4 for step in (1, 2, 3, 4)]


def test_same_seed_same_fit_and_another_seed_another(mlp, xy):
    fitted = []
    for seed in (0, 0, 1):
        with problem(mlp, xy, Direct(), MeanField(), train=TrainConfig(steps=5), seed=seed) as p:
            torch.rand(seed + 1)  # the caller's random state must not matter
            run(p)
            fitted.append(p.joint_guide.state_dict())
    assert all(torch.equal(fitted[0][name], fitted[1][name]) for name in fitted[0])
    assert not all(torch.equal(fitted[0][name], fitted[2][name]) for name in fitted[0])


def test_a_loss_that_explodes_is_an_error_with_advice(mlp, xy):
    train = TrainConfig(steps=50, lr=1e30, clip=0)
    with (
        problem(mlp, xy, Direct(), Point(), train=train) as p,
        pytest.raises(FitError, match=r"loss is (nan|inf) at step \d+.*Lower lr"),
    ):
        run(p)


@pytest.mark.parametrize("watched", [False, True])
def test_a_step_that_ends_the_numbers_is_an_error_at_once(mlp, xy, watched):
    """The loss of that step is finite still; neither the KL nor a validation sees what came of it."""

    def explode(step, joint_guide):
        next(joint_guide.latent.parameters()).data.fill_(torch.nan)

    def validate():
        raise AssertionError

    with (
        problem(mlp, xy, Direct(), MeanField(), train=TrainConfig(steps=1)) as p,
        pytest.raises(FitError, match=r"at step 1: '.*' is no longer finite.*Lower lr"),
    ):
        run(p, validate=validate if watched else None, after=explode)


def test_training_without_labels_is_an_error(mlp, xy):
    with problem(mlp, (xy[0],), Direct(), Point()) as p, pytest.raises(DataError, match="training needs labels"):
        run(p)
