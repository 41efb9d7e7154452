"""Every registered likelihood keeps the contract."""

from __future__ import annotations

import pytest

from bayespeft import registry
from bayespeft.likelihoods import Likelihood
from bayespeft.testing import LikelihoodContract


class TestLikelihoods(LikelihoodContract):
    @pytest.fixture(params=registry.names("likelihoods"))
    def subject(self, request) -> Likelihood:
        return registry.get("likelihoods", request.param)()
