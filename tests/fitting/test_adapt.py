"""What `adapt` takes, and what needs more than an objective."""

from __future__ import annotations

import pytest

import bayespeft
from bayespeft.errors import ConfigError
from tests.fitting.own_loop import OPTIONS, TEN, batches, own_loop, same


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        ("laplace_lora", "start="),
        ("swag", "start="),
        ("ensemble", "call fit alone"),
        ("ivon", "call fit alone"),
        ("temperature", "with_temperature"),
        ("rosa_sparse", "warm-up over the data"),
        ("rosa_subspace", "merges into"),
    ],
)
def test_methods_that_need_more_than_an_objective_are_refused(mlp, xy, guide, words):
    with pytest.raises(ConfigError, match=words):
        bayespeft.adapt(mlp, xy, 60, guide, targets="all-linear")


def test_layers_in_turn_are_refused(mlp, xy):
    with pytest.raises(ConfigError, match="layers in turn"):
        bayespeft.adapt(mlp, xy, 60, train=TEN.replace(layers_at_once=1))


def test_a_start_goes_on_in_an_own_loop(mlp, xy):
    first = bayespeft.fit(mlp, xy, "melora", train=TEN, progress=False, **OPTIONS)
    options = {"train": TEN, "start": first, "seed": 3}
    fitted = bayespeft.fit(mlp, xy, "melora", progress=False, **options)
    adaptation = bayespeft.adapt(mlp, xy, 60, "melora", **options)
    with adaptation:
        own_loop(adaptation, batches(adaptation, xy, 10))
    assert same(adaptation.posterior(), fitted)
