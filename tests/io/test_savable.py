"""Parts that would not be read as they were are found out."""

from __future__ import annotations

from typing import Any

import pytest

import bayespeft
from bayespeft import registry
from bayespeft.adapters.core import Core
from bayespeft.errors import ConfigError
from bayespeft.io.savable import check_savable
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.priors.normal import Normal


class Lossy(Normal):
    """A setting that JSON does not hold as it is."""

    scale: float = 1.0
    extra: Any = None


@pytest.fixture(autouse=True)
def _registered(monkeypatch: Any) -> None:
    found, get = registry._found, registry.get
    monkeypatch.setattr(registry, "_found", lambda cls: "lossy" if cls is Lossy else found(cls))
    monkeypatch.setattr(registry, "get", lambda room, name: Lossy if name == "lossy" else get(room, name))


@pytest.mark.parametrize("name", ["melora", "swag", "bayes_rosa", "laplace_lora", "ensemble"])
def test_methods_can_be_saved(name: str) -> None:
    check_savable(bayespeft.methods()[name], SequenceClassification(), [Core(r=3)])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "'lossy' can't be written as JSON"),
        (float("inf"), "'lossy' change when they are written as JSON"),
        ((1, 2), "'lossy' change when they are written as JSON"),
    ],
)
def test_a_setting_that_is_lost_is_an_error(value: Any, message: str) -> None:
    prior = Lossy.model_construct(scale=0.2, extra=value)
    method = bayespeft.methods()["melora"].replace(latent_prior=prior)
    with pytest.raises(ConfigError, match=message):
        check_savable(method, SequenceClassification(), [])
    check_savable(method.replace(latent_prior=Lossy(extra=[1, 2])), SequenceClassification(), [])


def test_a_part_that_is_not_registered_is_named(monkeypatch: Any) -> None:
    monkeypatch.undo()
    method = bayespeft.methods()["melora"].replace(latent_prior=Lossy())
    with pytest.raises(ConfigError, match="Lossy is not registered in priors"):
        check_savable(method, SequenceClassification(), [])
