"""An adapter that can only say how it changes the weight works in every noise mode that is right for it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters import Adapter, Core, Dora, Factor, Layer, Vera
from bayespeft.errors import GuideError
from bayespeft.guides import LaplaceFull, MeanField
from bayespeft.priors import Normal
from tests.training.helpers import problem

pytestmark = pytest.mark.filterwarnings("ignore:.*can be used, but not saved")


class CoreByDelta(Core):
    """Me-LoRA's core, said by its weight alone."""

    def apply(self, factors, x, y, layer):
        return Adapter.apply(self, factors, x, y, layer)


class Squared(Adapter):
    """A change that is linear in nothing: (c c^T)^2 out of a vector."""

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        return {
            "c": Factor(torch.zeros(layer.out_features), "latent"),
            "d": Factor(torch.ones(layer.in_features), "point"),
        }

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        return torch.outer(factors["c"].square(), factors["d"])


@pytest.mark.parametrize("noise", ["batch", "example"])
def test_it_trains_and_predicts_as_the_structured_one_does(noise, mlp, xy):
    """Same draws, same objective: what differs is rounding."""
    found = []
    for adapter in (Core(r=3), CoreByDelta(r=3)):
        method = bayespeft.methods()["melora"].replace(
            adapter=adapter, guide=MeanField(noise=noise, init_std=(0.2, 0.2)), latent_prior=Normal(scale=0.5)
        )
        train = TrainConfig(steps=20, batch_size=20, lr=0.02)
        posterior = bayespeft.fit(mlp, xy, method, targets="all-linear", train=train, progress=False)
        found.append(posterior)
    first, second = (posterior.predict(xy, draws=4).log_probs for posterior in found)
    torch.testing.assert_close(first, second, atol=2e-3, rtol=2e-3)
    one_by_one = found[1].predict(xy, draws=4, draws_per_pass=1).log_probs
    torch.testing.assert_close(second, one_by_one, atol=1e-5, rtol=1e-5)


def test_flipped_matrices_are_refused_before_training_with_the_reason(mlp, xy):
    method = bayespeft.methods()["melora"].replace(adapter=CoreByDelta(r=3), guide=MeanField(noise="flipout"))
    with pytest.raises(
        GuideError,
        match=r"changes layer '0' by a function of all its factors.*isn't linear.*noise='example' or noise='batch'",
    ):
        bayespeft.fit(mlp, xy, method, targets="all-linear", train=TrainConfig(steps=1), progress=False)


def test_flipped_vectors_are_values_of_each_example(mlp, xy):
    for noise in ("batch", "example", "flipout"):
        with problem(mlp, xy, Squared(), MeanField(noise=noise, init_std=(0.3, 0.3))) as p:
            loss, _ = p.loss(next(iter(p.examples.batches(8))), 1.0)
            assert torch.isfinite(loss.detach())


@pytest.mark.parametrize("adapter", [Squared(), Dora(r=2), Dora(r=2, latent=("A", "B", "g")), Vera(r=5)], ids=str)
def test_its_covariance_and_its_linearised_prediction_follow_from_delta(adapter, mlp, xy):
    method = bayespeft.methods()["melora"].replace(
        adapter=adapter, guide=LaplaceFull(prior_precision=10.0), latent_prior=Normal(scale=0.3)
    )
    train = TrainConfig(steps=5, batch_size=20, lr=0.01)
    posterior = bayespeft.fit(mlp, xy, method, targets="all-linear", train=train, progress=False)
    assert torch.isfinite(posterior.predict(xy).log_probs).all()
    assert torch.isfinite(posterior.weight_covariance("2").std()).all()


def test_a_merged_network_says_what_the_adapted_one_says(mlp, xy):
    for name in ("dora", "vera"):
        train = TrainConfig(steps=10, batch_size=20, lr=0.02)
        posterior = bayespeft.fit(mlp, xy, name, targets="all-linear", train=train, progress=False)
        with torch.no_grad():
            expected = posterior.merged_model()(xy[0]).log_softmax(-1)
        found = posterior.predict(xy).log_probs
        torch.testing.assert_close(found.float(), expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(expected, mlp(xy[0]).detach().log_softmax(-1), atol=1e-2)
