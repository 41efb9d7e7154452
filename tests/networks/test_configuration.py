"""A network's configuration is asked in one place, whether there is one or not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from bayespeft.errors import ConfigError
from bayespeft.networks.configuration import (
    cache_as_it_was,
    is_encoder_decoder,
    name_of,
    name_outputs,
    names_of_outputs,
    setting,
)


def configured(**settings: Any) -> nn.Module:
    model = nn.Linear(2, 2)
    model.config = SimpleNamespace(**settings)  # type: ignore[assignment]
    return model


def test_a_network_without_a_configuration_says_nothing() -> None:
    model = nn.Linear(2, 2)
    assert setting(model, "num_labels") is setting(None, "num_labels") is None
    assert names_of_outputs(model) == ()
    assert name_of(model) == ""
    assert not is_encoder_decoder(model)
    name_outputs(model, ["no", "yes"])
    assert not hasattr(model, "config")
    with cache_as_it_was(model, off=True):
        pass


def test_names_of_outputs_come_in_order_and_are_what_was_set() -> None:
    assert names_of_outputs(configured(id2label={"1": "yes", "0": "no"})) == ("no", "yes")
    model = configured()
    name_outputs(model, ["a", "b"])
    assert names_of_outputs(model) == ("a", "b")
    assert setting(model, "label2id") == {"a": 0, "b": 1}
    for wrong in ({1: "a"}, {"x": "a"}, ["a"]):
        with pytest.raises(ConfigError, match=r"must name the outputs 0, 1"):
            names_of_outputs(configured(id2label=wrong))


@pytest.mark.parametrize("before", [True, False])
def test_the_cache_is_switched_as_it_was_whatever_happens_inside(before: bool) -> None:
    model = configured(use_cache=before)
    with cache_as_it_was(model, off=True):
        assert not setting(model, "use_cache")
    assert setting(model, "use_cache") is before

    def fails() -> None:
        with cache_as_it_was(model):
            assert setting(model, "use_cache") is before
            model.config.use_cache = not before  # type: ignore[union-attr]
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fails()
    assert setting(model, "use_cache") is before
