"""How many positions a network knows, and where it counts them from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.networks.configuration import setting
from bayespeft.networks.forward import takes


def positions_known(model: nn.Module | None) -> int | None:
    """Return how many positions a network was trained with; None where it says none, or where they are relative (T5)."""
    for name in ("max_position_embeddings", "max_encoder_position_embeddings"):
        if isinstance(known := setting(model, name), int):
            return known if known > 0 else None  # XLNet says -1
    # Encoder-decoders with relative positions have an n_positions that is no limit.
    return None if setting(model, "is_encoder_decoder") else setting(model, "n_positions")


def padded_tables(model: nn.Module) -> list[tuple[int, int]]:
    """Return rows and padding row of each embedding of positions that has a padding row.

    Such networks (RoBERTa and its kin) give padding that row whichever tokens it stands among, and count positions of real
    tokens from the row behind it.
    """
    found = []
    for name, module in model.named_modules():
        weight, padding = getattr(module, "weight", None), getattr(module, "padding_idx", None)
        if "position" in name.rsplit(".", 1)[-1] and isinstance(padding, int) and isinstance(weight, Tensor):
            found.append((len(weight), padding))
    return found


def longest(model: nn.Module | None) -> int | None:
    """Return the longest sequence that a network has positions for, in tokens; None where it names no limit."""
    limits = [rows - padding - 1 for rows, padding in padded_tables(model)] if model is not None else []
    known = positions_known(model)
    return min([*limits, *([known] if known else [])], default=None)


def has_table(model: nn.Module) -> bool:
    """Whether positions are rows of a table, so that there is none for a longer sequence."""
    leaves = ((name.rsplit(".", 1)[-1], module) for name, module in model.named_modules())
    return any((leaf == "wpe" or "pos" in leaf) and isinstance(module, nn.Embedding) for leaf, module in leaves)


def token_limit(max_length: int | None, model: nn.Module | None, tokenizer: Any) -> int | None:
    """Return the longest sequence that likelihood (its `max_length`), network and tokenizer allow, in tokens."""
    limits = [max_length, getattr(tokenizer, "model_max_length", None), longest(model)]
    return min((limit for limit in limits if limit and limit < 10**9), default=None)


def left_positions(model: nn.Module, mask: Tensor) -> dict[str, Tensor]:
    """Return `position_ids` (n, T) that count from each row's first token, for a batch that is padded on the left.

    Nothing where no row is, where the network takes none, where it tells padding by itself (see `padded_tables`), or where its
    tokens have places in pictures (`get_rope_index` of Qwen-VL and its kin): its own positions are then right. Padding gets
    position 0.

    Args:
        model: which counts padding as well, if it has absolute positions.
        mask: (n, T), 1 at tokens.
    """
    if not takes(model, "position_ids") or padded_tables(model):
        return {}
    # Their rotary positions are relative, so padding moves none of them; one number a token would lose rows and columns.
    if any(hasattr(module, "get_rope_index") for module in model.modules()):
        return {}
    # What is exported can't look at values; these positions are right where no row is padded, too.
    if not torch.compiler.is_compiling() and bool(mask[:, 0].all()):
        return {}
    return {"position_ids": (mask.cumsum(1) - 1).clamp_min(0)}
