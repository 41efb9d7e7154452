"""Every registered guide keeps the contract, with the settings of the first method that has it, and fitted by that method."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bayespeft import registry
from bayespeft.guides import GuideSpec, MatrixNormal
from bayespeft.methods.base import Method
from bayespeft.testing import GuideContract

METHODS: dict[str, Method] = {}
for _name in registry.names("methods"):
    METHODS.setdefault(registry.get("methods", _name).guide.kind, registry.get("methods", _name))


def test_every_guide_is_that_of_a_method():
    assert sorted(METHODS) == list(registry.names("guides"))


class TestGuides(GuideContract):
    @pytest.fixture(params=METHODS)
    def subject(self, request) -> GuideSpec:
        return METHODS[request.param].guide

    def method(self, guide):
        return METHODS[guide.kind]  # as it is: the fit is that of its own tests

    def a_stack(self, guide):
        stack = super().a_stack(guide)
        # Two atoms have a KL against the same two only.
        return replace(stack, center=stack.init) if guide.kind == "dropout" else stack


class TestDiagonalMatrixNormal(GuideContract):
    guide = MatrixNormal(factors="diagonal")
