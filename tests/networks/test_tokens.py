"""Tokens with a meaning: tokenizer and configurations name them, each in its turn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from bayespeft.errors import AttachError
from bayespeft.networks.tokens import end_tokens, padding_token, padding_tokens, start_token


def network(generation: Any = None, **settings: Any) -> nn.Module:
    model = nn.Linear(2, 2)
    model.config = SimpleNamespace(**settings)  # type: ignore[assignment]
    model.generation_config = generation
    return model


def test_the_tokenizer_s_padding_token_comes_first() -> None:
    model = network(SimpleNamespace(pad_token_id=7), pad_token_id=5)
    assert padding_token(model, SimpleNamespace(pad_token_id=0)) == 0
    assert padding_token(model, None) == 5
    assert padding_token(network(), None) is None
    assert padding_tokens(model, SimpleNamespace(pad_token_id=0)) == [0, 5, 7]
    assert padding_tokens(model, SimpleNamespace(pad_token_id=5)) == [5, 7]


def test_ends_are_those_of_the_generation_configuration_and_the_tokenizer_s() -> None:
    model = network(SimpleNamespace(eos_token_id=[4, 3]), eos_token_id=9)
    assert end_tokens(model, SimpleNamespace(eos_token_id=1)) == [1, 3, 4]
    assert end_tokens(network(eos_token_id=9), None) == [9]
    assert end_tokens(network(), None) == []


def test_a_decoder_without_a_start_is_an_error() -> None:
    assert start_token(network(decoder_start_token_id=0)) == 0
    with pytest.raises(AttachError, match="names no decoder_start_token_id"):
        start_token(network(decoder_start_token_id=None))
