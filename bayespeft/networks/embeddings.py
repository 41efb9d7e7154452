"""A network's embeddings of tokens, at its input and at its output, and which of them were never trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Rows count as made by resizing if their distance from the mean row is below this part of other rows' distance: resizing leaves
# 3e-5 of it, rounding 4e-3.
ALIKE = 0.01
SAMPLE = 1000


def output_embedding(model: nn.Module) -> nn.Module | None:
    """Return the layer that scores the tokens of a vocabulary; None where a network has none, and is no language model."""
    getter = getattr(model, "get_output_embeddings", None)
    return getter() if callable(getter) else None


def input_embedding(model: nn.Module) -> nn.Module | None:
    """Return the layer that embeds tokens; None where a network reads none, or says nothing."""
    getter = getattr(model, "get_input_embeddings", None)
    try:
        return getter() if callable(getter) else None
    except (NotImplementedError, AttributeError):  # networks that read no tokens, or tokens that are hashed, or bytes
        return None


def vocabulary(model: nn.Module) -> int | None:
    """Return how many tokens the network has input embeddings for; None where it does not say."""
    table = input_embedding(model)
    return table.num_embeddings if isinstance(table, nn.Embedding) else None


@torch.no_grad()
def fresh_rows(model: nn.Module) -> int:
    """Return how many of the last rows of the input embedding are as `resize_token_embeddings` makes them: all their mean.

    Rows that it was told to draw (mean_resizing=False) can't be told from trained ones.
    """
    weight: Any = getattr(input_embedding(model), "weight", None)
    if not isinstance(weight, torch.Tensor) or not weight.is_floating_point() or weight.dim() != 2 or weight.is_meta:
        return 0
    if hasattr(weight, "full_tensor"):  # sharded over processes, which gather it together
        weight = weight.full_tensor()
    mean = weight.mean(0, dtype=torch.float32)
    first = weight[:SAMPLE].float().sub(mean).norm(dim=1).median()
    last = weight[-SAMPLE:].float().sub(mean).norm(dim=1)
    alike = (last <= ALIKE * first).flip(0).long().cumprod(0)
    return int(alike.sum()) if first > 0 and not alike.all() else 0


def fresh_tokens(model: nn.Module, tokenizer: Any) -> list[str]:
    """Return the tokens of a tokenizer whose embeddings are fresh; none without a tokenizer."""
    added = getattr(tokenizer, "get_added_vocab", None)
    known: dict[str, int] = added() if callable(added) else {}
    count = fresh_rows(model) if known else 0
    if not count:
        return []
    first = len(model.get_input_embeddings().weight) - count  # type: ignore[operator]
    return sorted((token for token, number in known.items() if number >= first), key=known.__getitem__)
