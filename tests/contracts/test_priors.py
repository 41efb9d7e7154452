"""Every registered prior keeps the contract."""

from __future__ import annotations

import pytest

from bayespeft import registry
from bayespeft.priors import Dropout, Prior
from bayespeft.testing import PriorContract


class TestPriors(PriorContract):
    @pytest.fixture(params=[name for name in registry.names("priors") if name != "dropout"])
    def subject(self, request) -> Prior:
        cls = registry.get("priors", request.param)
        return cls(**dict.fromkeys(cls.model_fields, 0.5))


def test_a_prior_of_atoms_has_every_dimension_as_event_and_survives_json():
    """It has a KL to the same atoms only, which an adapter's mask has: tests/guides/test_dropout.py fits it."""
    prior = Dropout(p=0.5)
    contract = PriorContract()
    contract.test_every_dimension_is_an_event(prior)
    contract.test_json_round_trip(prior)
