"""Every registered method keeps the contract."""

from __future__ import annotations

import pytest

from bayespeft import registry
from bayespeft.config import TrainConfig
from bayespeft.methods.base import Method
from bayespeft.methods.melora import WARMED_UP
from bayespeft.testing import MethodContract
from bayespeft.training.horizon import resolved
from bayespeft.training.schedule import kl_weight

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


def test_words_about_the_warm_up_of_the_prior_are_the_settings():
    """What a method says of its warm-up goes for the rows at which the rules change."""
    slow = [method for name in METHODS if (method := registry.get("methods", name)).train.kl_pace]
    assert slow
    for method in slow:
        assert WARMED_UP in method.deviations, method.name
        train = resolved(method.train, 1000)
        assert {rows: _warmed_up(train, rows) for rows in (1, 300, 600, 900, 5000)} == {
            1: 600, 300: 600, 600: 180_000 / 600, 900: 200, 5000: 200,
        }  # fmt: skip


def _warmed_up(train: TrainConfig, rows: int) -> int:
    """The first step at which the prior has its whole weight."""
    return next(step for step in range(1, 1001) if kl_weight(train, step - 1, 1000, rows) == train.kl_weight)
