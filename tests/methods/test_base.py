"""Methods as settings: read and written with the classes of their parts."""

from __future__ import annotations

from bayespeft.adapters.core import Core
from bayespeft.methods.base import Method
from bayespeft.methods.melora import METHOD
from bayespeft.priors.fan_in import FanIn


def test_a_method_survives_json_with_the_classes_of_its_parts():
    again = Method.model_validate_json(METHOD.model_dump_json())
    assert again == METHOD
    assert type(again.adapter) is Core
    assert type(again.latent_prior) is FanIn
