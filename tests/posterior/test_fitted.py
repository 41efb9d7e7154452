"""What a posterior is made of: counts of its numbers, one network at a time, and what can't be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters import RandomSubspace
from bayespeft.errors import AttachError, ConfigError
from bayespeft.likelihoods import Regression

TRAIN = TrainConfig(steps=2)


def fit(model, data, method="melora", **options):
    return bayespeft.fit(model, data, method, targets="all-linear", train=TRAIN, progress=False, **options)


def test_numbers_are_those_of_the_network_and_of_what_is_trained_beside_it(mlp, xy):
    posterior = fit(mlp, xy)
    own = sum(parameter.numel() for parameter in mlp.parameters())
    assert posterior.total_parameters == own + sum(p.numel() for p in posterior.joint_guide.parameters())
    assert posterior.heads == set()
    assert posterior.device == torch.device("cpu")


def test_a_draw_is_a_network_of_its_own_the_same_each_time_and_gone_afterwards(mlp, xy):
    posterior, x = fit(mlp, xy), xy[0]
    with torch.no_grad():
        base = mlp(x)

        def out(draw, seed=0):
            with posterior.using(draw, seed) as model:
                return model(x)

        assert torch.equal(out(1), out(1))
        assert not torch.equal(out(1), out(2))
        assert not torch.equal(out(1), out(1, seed=7))
        assert torch.equal(mlp(x), base)


def test_quantities_have_no_temperature(mlp, xy):
    posterior = fit(mlp, (xy[0], xy[0][:, :3]), likelihood=Regression())
    with pytest.raises(
        ConfigError, match=r"temperature=2.0: it divides logits of classes, and likelihood 'regression'"
    ):
        replace(posterior, temperature=2.0)


def test_the_mean_of_an_ensemble_is_none_of_its_members(mlp, xy):
    posterior = fit(mlp, xy, "ensemble")
    with pytest.raises(ConfigError, match="name a draw, from 0"), posterior.using("mean"):
        pass


def test_a_network_that_another_fit_has_merged_into_is_not_its_own_any_more(mlp, xy):
    posterior = fit(mlp, xy)
    merging = RandomSubspace(r=2, every=1, unit="steps")
    fit(mlp, xy, "rosa_subspace", adapter=merging)
    with pytest.raises(AttachError, match="another fit has merged into the network's weights"):
        posterior.predict(xy)
