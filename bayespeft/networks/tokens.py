"""Tokens that mean something of their own: what is ignored, what pads, what begins a text and what ends it."""

from __future__ import annotations

from typing import Any

from torch import nn

from bayespeft.errors import AttachError
from bayespeft.networks.configuration import setting

IGNORED = -100
"""The label of what has none, as in transformers and in torch's cross entropy: it counts in no number."""


def padding_tokens(model: nn.Module, tokenizer: Any) -> list[int]:
    """Return the padding tokens that tokenizer and network name, the tokenizer's first."""
    generation = getattr(model, "generation_config", None)
    named = (
        getattr(tokenizer, "pad_token_id", None),
        setting(model, "pad_token_id"),
        getattr(generation, "pad_token_id", None),
    )
    return list(dict.fromkeys(int(token) for token in named if token is not None))


def padding_token(model: nn.Module, tokenizer: Any) -> int | None:
    """Return the token that rows of data are padded with: the tokenizer's, else the network's; None where neither names one."""
    own = getattr(tokenizer, "pad_token_id", None)
    found: int | None = setting(model, "pad_token_id") if own is None else own
    return found


def start_token(model: nn.Module) -> int:
    """Return the token that a decoder behind an encoder begins with.

    Raises:
        AttachError: the network names none.
    """
    start = setting(model, "decoder_start_token_id")
    if start is None:
        raise AttachError(
            f"the configuration of {type(model).__name__} names no decoder_start_token_id: set it, or the decoder can't begin."
        )
    return int(start)


def end_tokens(model: nn.Module, tokenizer: Any) -> list[int]:
    """Return the end tokens that a network's configurations and its tokenizer name, in ascending order."""
    configurations = (getattr(model, "generation_config", None), getattr(model, "config", None))
    candidates = (getattr(configuration, "eos_token_id", None) for configuration in configurations)
    named: Any = next((found for found in candidates if found is not None), [])
    own = getattr(tokenizer, "eos_token_id", None)
    return sorted({*(named if isinstance(named, (list, tuple)) else [named]), *([] if own is None else [own])})
