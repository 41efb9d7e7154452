"""What `forward` takes is read off its signature."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from bayespeft.networks.forward import cache_name, cache_of, forwards_as_they_were, inputs_of, last_logits, takes


class Plain(nn.Module):
    def forward(self, x: Tensor, position_ids: Any = None, labels: Any = None) -> Tensor:
        return x


class Newer(nn.Module):
    main_input_name = "input_ids"

    def forward(self, input_ids: Tensor, cache: Any = None, logits_to_keep: int = 0, **rest: Any) -> Tensor:
        return input_ids


class Opaque(nn.Module):
    def forward(self, *args: Any, **rest: Any) -> None: ...


def test_inputs_are_the_named_arguments_but_labels_and_unknown_where_they_are_passed_on() -> None:
    assert inputs_of(Plain()) == {"x", "position_ids"}
    assert inputs_of(Newer()) == {"input_ids", "cache", "logits_to_keep"}
    assert inputs_of(Opaque()) is None
    assert takes(Plain(), "position_ids")
    assert not takes(Opaque(), "position_ids")


def test_the_cache_has_the_name_that_forward_gives_it() -> None:
    assert cache_name(Newer()) == "cache"
    assert cache_name(Plain()) == "past_key_values"
    assert cache_of(SimpleNamespace(cache=None, past_key_values=3)) == 3
    assert cache_of(SimpleNamespace(logits=1)) is None


def test_fewer_logits_are_asked_for_where_that_can_be_said() -> None:
    assert last_logits(Newer(), 1) == {"logits_to_keep": 1}
    assert last_logits(Plain(), 1) == {}


def test_modules_get_their_own_forwards_back() -> None:
    plain, wrapped = Plain(), Plain()
    own = lambda x: x + 1  # noqa: E731
    wrapped.forward = own  # type: ignore[method-assign]
    with forwards_as_they_were([plain, wrapped]):
        for module in (plain, wrapped):
            module.forward = lambda *_: None  # type: ignore[method-assign]
    assert "forward" not in vars(plain)
    assert vars(wrapped)["forward"] is own
