"""A prediction is linearised where it is as near to the truth as the draws that it replaces, and sampled elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft.config import TrainConfig
from bayespeft.errors import ConfigError
from bayespeft.likelihoods.regression import Regression
from bayespeft.prediction import agreement
from bayespeft.prediction.agreement import as_near
from bayespeft.prediction.common_shape import CommonShape

ROWS = 1200
BRIEF = {"targets": "all-linear", "train": TrainConfig(steps=30), "progress": False}


def data(n, classes=3):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(n))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long() * (classes > 2)


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


def spread(posterior, size):
    """Set every standard deviation of q."""
    for parameter in posterior.joint_guide.latent.spread():
        parameter.data.fill_(torch.tensor(size).log())


@pytest.mark.parametrize(("size", "draws", "linear"), [(0.01, 10, True), (100.0, 200, False)], ids=["narrow", "wide"])
def test_it_is_linearised_where_the_posterior_is_narrow(network, size, draws, linear):
    posterior = bayespeft.fit(network, data(90), "melora", **BRIEF)
    spread(posterior, size)
    test = data(ROWS)
    found = posterior.predict(test, prediction="auto", draws=draws)
    # One direction of each example is enough here.
    assert found.backward_passes == linear
    if not linear:
        assert torch.equal(found.log_probs, posterior.predict(test, prediction="sampled", draws=draws).log_probs)
    else:
        assert found.making.sampling == "linearised, one direction"
        # It is as near to many draws as it says.
        truth = posterior.predict(test, draws=400, prediction="sampled", sampling="antithetic", seed=1).probs
        ten = posterior.predict(test, draws=10, prediction="sampled").probs
        assert (found.probs - truth).square().mean() < (ten - truth).square().mean()


def test_covariances_are_each_example_s_own_where_their_shape_does_not_serve(network, monkeypatch):
    posterior = bayespeft.fit(network, data(90), "melora", **BRIEF)
    spread(posterior, 0.01)
    sized = CommonShape.sized
    monkeypatch.setattr(CommonShape, "sized", lambda *given: 1e7 * sized(*given))
    test = data(ROWS)
    found = posterior.predict(test, prediction="auto")
    assert found.backward_passes == 2
    assert torch.equal(found.log_probs, posterior.predict(test, prediction="linearised").log_probs)


@pytest.mark.parametrize(
    "options",
    [{"draws": 2}, {"draws": 0}, {"draws": "decision"}, {"draws": "auto"}, {"shared": True}],
    ids=["dearer", "the mean", "decision", "draws auto", "shared"],
)
def test_elsewhere_it_is_what_it_would_be_without(network, options):
    posterior = bayespeft.fit(network, data(90), "melora", **BRIEF)
    test = data(ROWS)
    found, other = (posterior.predict(test, prediction=way, **options) for way in ("auto", "sampled"))
    assert found.backward_passes == 0
    assert torch.equal(found.log_probs, other.log_probs)


@pytest.mark.parametrize("classes", [3, 9])
def test_the_cost_that_is_compared_is_that_of_the_prediction(classes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, classes))
    x = data(90)[0]
    posterior = bayespeft.fit(network, (x, torch.arange(90) % classes), "melora", **BRIEF)
    found = posterior.predict((x, torch.arange(90) % classes), prediction="linearised")
    with posterior._predictor() as predictor:
        assert found.backward_passes == predictor.backward_passes


def test_few_rows_are_not_worth_the_look(network, monkeypatch):
    posterior = bayespeft.fit(network, data(90), "melora", **BRIEF)
    monkeypatch.setattr(agreement, "as_near", lambda *_: pytest.fail("it looked"))
    assert posterior.predict(data(100), prediction="auto").backward_passes == 0


def test_no_gaussian_is_sampled(network):
    posterior = bayespeft.fit(network, data(90), "ensemble", **BRIEF)
    assert posterior.predict(data(ROWS), prediction="auto").backward_passes == 0


def test_quantities_are_judged_by_their_means():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    (x, _), (other, _) = data(90), data(ROWS)
    posterior = bayespeft.fit(network, (x, x[:, :1]), "melora", likelihood=Regression(noise=0.3), **BRIEF)
    spread(posterior, 0.01)
    assert posterior.predict((other, other[:, :1]), prediction="auto", draws=20).backward_passes == 1
    spread(posterior, 100.0)
    assert posterior.predict((other, other[:, :1]), prediction="auto", draws=20).backward_passes == 0


def test_other_ways_are_refused(network):
    posterior = bayespeft.fit(network, data(90), "melora", **BRIEF)
    with pytest.raises(ConfigError, match="'sampled' or 'linearised' or 'auto'"):
        posterior.predict(data(90), prediction="exact")


@pytest.mark.parametrize(("bias", "near"), [(0.0, True), (0.1, True), (1.0, False)])
def test_the_rule_compares_a_bias_with_the_error_of_draws(bias, near):
    """Ten draws of standard deviation one are off by about a third."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(32, 32, 2, generator=generator, dtype=torch.float64)
    drawn = torch.stack([noise, -noise], 1).flatten(0, 1)
    assert as_near(torch.full((32, 2), bias, dtype=torch.float64), drawn, 10) is near


def test_what_the_draws_themselves_are_off_by_is_no_bias():
    """Of a law that is even in the noise mirrored draws cancel nothing; as many draws as are looked at are as good."""
    generator = torch.Generator().manual_seed(0)
    agreed = []
    for _ in range(200):
        even = torch.randn(32, 32, 1, generator=generator, dtype=torch.float64).square()
        drawn = torch.stack([even, even], 1).flatten(0, 1)
        agreed.append(as_near(torch.ones(32, 1, dtype=torch.float64), drawn, 10))
    assert sum(agreed) > 190
