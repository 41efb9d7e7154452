"""Dropout's law against enumeration, its KL, and the network that one draw is."""

from __future__ import annotations

from itertools import product

import pyro
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyro.infer import TraceMeanField_ELBO
from torch.distributions import kl_divergence

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.masked_lora import MaskedLora
from bayespeft.errors import ConfigError, GuideError
from bayespeft.guides.dropout import Dropout
from bayespeft.layers.factors import StackedFactor
from bayespeft.methods.mc_dropout import METHOD
from bayespeft.prediction.sampling import Noise
from bayespeft.priors.dropout import Dropout as DropoutPrior
from bayespeft.priors.dropout import ScaledBernoulli
from tests.training.helpers import problem

rates = st.floats(0.01, 0.99)


def masks(*shape: int) -> StackedFactor:
    ones = torch.ones(*shape)
    return StackedFactor("z", "z", tuple("s" * shape[0]), "latent", ones, DropoutPrior(p=0.1), ones)


@given(rates)
def test_density_and_moments_are_those_of_enumeration(p):
    center = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    law = ScaledBernoulli(center, p)
    values = torch.stack([center * torch.tensor(bits) / (1 - p) for bits in product((0.0, 1.0), repeat=3)])
    probs = law.log_prob(values).exp()
    assert probs.shape == (8,)
    torch.testing.assert_close(probs.sum(), torch.ones_like(probs[0]))
    mean = (probs[:, None, None] * values).sum(0)
    torch.testing.assert_close(mean, law.mean)
    torch.testing.assert_close((probs[:, None, None] * (values - mean) ** 2).sum(0), law.variance)


def test_a_value_that_dropout_never_gives_has_no_density():
    law = ScaledBernoulli(torch.ones(1, 2), 0.2)
    assert float(law.log_prob(torch.tensor([[1.25, 1.0]]))) == float("-inf")
    assert law.support.check(torch.tensor([[1.25, 0.0]]))
    assert not law.support.check(torch.tensor([[1.25, 1.0]]))


def test_expanded_copies_are_independent():
    law = ScaledBernoulli(torch.ones(2, 3), 0.5).expand((4,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = law.sample((500,))
    assert draws.shape == (500, 4, 2, 3)
    assert law.log_prob(draws).shape == (500, 4)
    assert law.mean.shape == law.variance.shape == (4, 2, 3)
    # 24 columns of 500 coins: correlations of independent ones have standard error 1 / sqrt(500).
    correlations = torch.corrcoef(draws.flatten(1).T) - torch.eye(24)
    assert correlations.abs().max() < 5 / 500**0.5


@given(rates, st.integers(0, 2**31))
def test_draws_keep_the_rate(p, seed):
    guide = Dropout(p=p).build([masks(3, 50)], torch.Generator())
    draws = guide.draws(40, torch.Generator().manual_seed(seed))["z"]
    assert draws.shape == (40, 3, 50)
    dropped = draws == 0
    torch.testing.assert_close(draws[~dropped], torch.full_like(draws[~dropped], 1 / (1 - p)))
    error = (p * (1 - p) / draws.numel()) ** 0.5
    assert abs(float(dropped.double().mean()) - p) < 5 * error + 1e-3


def test_sobol_draws_are_closer_to_the_rate_than_chance():
    guide = Dropout(p=0.25).build([masks(1, 16)], torch.Generator())
    noise = Noise("sobol", guide.noise_size, 0).take(64)
    means = guide.transform(noise)["z"].mean(0)
    assert float((means - 1).std()) < 0.5 * (0.25 / 0.75 / 64) ** 0.5


def test_mirrored_draws_of_one_half_are_complements():
    guide = Dropout(p=0.5).build([masks(2, 8)], torch.Generator())
    noise = torch.randn(5, guide.noise_size, generator=torch.Generator().manual_seed(0))
    total = guide.transform(noise)["z"] + guide.transform(-noise)["z"]
    torch.testing.assert_close(total, torch.full_like(total, 2.0))


def test_kl_to_the_prior_is_zero_and_pyro_knows():
    law, prior = Dropout(p=0.3).build([masks(2, 4)], torch.Generator()).q()["z"], DropoutPrior(p=0.3)
    p = prior.distribution(torch.ones(2, 4))
    assert float(kl_divergence(law, p)) == 0
    assert kl_divergence(law.expand((5,)), p.expand((5,))).shape == (5,)

    def plated(distribution):
        with pyro.plate("examples", 5, dim=-1):
            pyro.sample("z", distribution)

    with pyro.validation_enabled():
        assert TraceMeanField_ELBO().loss(lambda: plated(p), lambda: plated(law)) == 0


def test_another_rate_in_the_prior_is_an_error(mlp, xy):
    method = METHOD.replace(guide=Dropout(p=0.2))
    with pytest.raises(GuideError, match=r"p=0\.2.*p=0\.1.*the same p"):
        bayespeft.fit(mlp, xy, method, targets="all-linear", progress=False)


@pytest.mark.parametrize("cls", [Dropout, DropoutPrior])
@pytest.mark.parametrize("p", [0, 1, -0.1, 1.5])
def test_without_a_rate_there_is_no_posterior(cls, p):
    with pytest.raises(ConfigError, match="dropout needs 0 < p < 1"):
        cls(p=p)


@pytest.mark.parametrize("noise", ["flipout", "token"])
def test_signs_make_no_masks(noise):
    with pytest.raises(ConfigError, match="noise"):
        Dropout(noise=noise)


def test_an_adapter_without_a_mask_is_an_error(mlp, xy):
    with pytest.raises(GuideError, match=r"'dropout' needs an adapter with the factors A \(point\), B \(point\), z"):
        bayespeft.fit(mlp, xy, METHOD, adapter="core", targets="all-linear", progress=False)


def test_training_averages_the_loss_over_masks(mlp, xy):
    """The objective's mean is that of networks with dropout on LoRA's input, one mask for each example."""
    with problem(mlp, xy, MaskedLora(r=2), Dropout(p=0.4), latent_prior=DropoutPrior(p=0.4)) as p:
        generator = torch.Generator().manual_seed(0)
        p.adopt({n: v + torch.randn(v.shape, generator=generator) for n, v in p.joint_guide.points.mean().items()})
        batch = next(iter(p.examples.batches(60)))
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(1)
            losses = torch.stack([p.loss(batch, 1.0)[0] for _ in range(200)])
        found = [p.predict(1, seed) for seed in range(200)]
        other = torch.stack([-one.log_probs.gather(-1, one.labels[:, None]).mean() for one in found])
        error = (losses.var() / 200 + other.var() / 200).sqrt()
        assert abs(float(losses.mean() - other.mean())) < 4 * float(error)
        # A mask for each example has less variance than one for all.
        assert losses.var() < 0.5 * other.var()


def test_mc_dropout_learns_and_its_draws_differ(mlp, xy):
    train = TrainConfig(steps=150, lr=1e-2)
    posterior = bayespeft.fit(mlp, xy, METHOD, targets="all-linear", train=train, progress=False)
    assert posterior.history.records[-1].kl == 0
    found = posterior.predict(xy, draws=20)
    assert float(found.mutual_information.mean()) > 1e-4
    assert float((found.probs.argmax(-1) == found.labels).double().mean()) > 0.7
