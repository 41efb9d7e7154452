"""Every registered method keeps the contract."""

from __future__ import annotations

import pytest

from bayespeft import registry
from bayespeft.methods.base import Method
from bayespeft.testing import MethodContract

METHODS = registry.names("methods")


def kinds(name: str) -> tuple[str, ...]:
    """What makes a difference to a network: adapter, guide, noise mode."""
    method: Method = registry.get("methods", name)
    return method.adapter.kind, method.guide.kind, method.guide.noise


DISTINCT = list({kinds(name): name for name in METHODS}.values())


class TestMethods(MethodContract):
    # Symmetry fixes eigenvectors (of two logits only the difference counts); where ScalaBL's prior moved to is drawn once.
    still = ("rows_", "columns_", "moved_")

    @pytest.fixture(params=METHODS)
    def subject(self, request) -> Method:
        method: Method = registry.get("methods", request.param)
        assert method.name == request.param
        return method

    @pytest.mark.parametrize("subject", DISTINCT, indirect=True)
    def test_works_with_label_tokens(self, subject):
        super().test_works_with_label_tokens(subject)


def test_methods_under_other_priors_do_not_share_their_words():
    """A method that is made from another one takes its words over, unless it has its own."""
    said: dict[str, set[str]] = {}
    for name in METHODS:
        method = registry.get("methods", name)
        priors = (method.latent_prior, method.point_prior, method.head_prior)
        said.setdefault(method.deviations, set()).add(repr(priors))
    assert [words for words, priors in said.items() if words and len(priors) > 1] == []
