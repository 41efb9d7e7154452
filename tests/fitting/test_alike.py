"""An own loop goes on from a state of its own objective only."""

from __future__ import annotations

import pytest

import bayespeft
from bayespeft import registry
from bayespeft.errors import CheckpointError
from bayespeft.priors.normal import Normal
from tests.fitting.own_loop import OPTIONS, TEN


@pytest.mark.parametrize(
    ("size", "method", "change", "told"),
    [
        (61, "melora", {}, "data_size 60, and this adaptation has 61"),
        (60, "melora", {"class_weight": {0: 2.0}}, "likelihood"),
        (60, "melora", {"train": TEN.replace(kl_weight=0.5)}, "kl_weight"),
        (60, registry.get("methods", "melora").replace(latent_prior=Normal(scale=0.3)), {}, "latent_prior"),
    ],
    ids=["number of rows", "class weights", "weight of the KL", "prior"],
)
@pytest.mark.filterwarnings("ignore:class_weight counts the 60 training rows:UserWarning")
def test_a_state_of_another_objective_is_refused(mlp, xy, size, method, change, told):
    """How long a run is, and at which rate, may change from one part of it to the next."""
    first = bayespeft.adapt(mlp, xy, 60, "melora", train=TEN, **OPTIONS)
    with first:
        state = first.state_dict()
    other = bayespeft.adapt(mlp, xy, size, method, **{"train": TEN, **OPTIONS, **change})
    with pytest.raises(CheckpointError, match=told):
        other.load_state_dict(state)
    longer = bayespeft.adapt(mlp, xy, 60, "melora", train=TEN.replace(steps=20, lr=0.5), **OPTIONS)
    longer.load_state_dict(state)


def test_a_state_that_does_not_say_it_is_refused(mlp, xy):
    adaptation = bayespeft.adapt(mlp, xy, 60, "melora", train=TEN, **OPTIONS)
    with pytest.raises(CheckpointError, match="what it was trained for"):
        adaptation.load_state_dict({**adaptation.state_dict(), "objective": {"data_size": "60"}})
