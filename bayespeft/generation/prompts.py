"""Prompts in any accepted form to tokens, and tokens to a padded batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.errors import DataError
from bayespeft.likelihoods.base import Likelihood, positions_known
from bayespeft.likelihoods.language_modelling import LanguageModelling

Prompts = str | Sequence[str] | Sequence[Sequence[int]] | Tensor | Mapping[str, Any]


def language_of(model: nn.Module, likelihood: Likelihood, tokenizer: Any) -> LanguageModelling:
    """Return how this network reads prompts: the likelihood that it was fitted with, or, after another, prompts as they are.

    Raises:
        AttachError: the network has no vocabulary to write with.
    """
    if isinstance(likelihood, LanguageModelling):
        return likelihood
    return LanguageModelling(template="{source}").resolve(model, tokenizer, None)


def as_tokens(prompts: Prompts, language: LanguageModelling, tokenizer: Any) -> list[list[int]]:
    """Return the tokens of each prompt.

    Args:
        prompts: a text; texts; lists of tokens; (n, T) tokens; or a mapping with `input_ids` and `attention_mask`, as
            tokenizers return it. Texts are written into the likelihood's template, tokens are taken as they are.
        language: reads texts.
        tokenizer: for texts.

    Raises:
        DataError: there are none, one is empty, they are of another form, or they are text and there is no tokenizer.
    """
    if isinstance(prompts, Mapping):
        if "input_ids" not in prompts:
            raise DataError(f"a mapping of prompts needs input_ids, found {', '.join(map(str, prompts)) or 'nothing'}.")
        ids = torch.as_tensor(prompts["input_ids"])
        mask = torch.as_tensor(prompts.get("attention_mask", torch.ones_like(ids)))
        rows = [row[real.bool()].tolist() for row, real in zip(ids, mask, strict=True)]
    elif isinstance(prompts, Tensor):
        if prompts.dim() != 2 or prompts.is_floating_point():
            raise DataError(
                f"tokens must be integers (n, length), got {prompts.dtype} of shape {tuple(prompts.shape)}."
            )
        rows = prompts.tolist()
    else:
        listed = [prompts] if isinstance(prompts, str) else list(prompts)
        texts = [prompt for prompt in listed if isinstance(prompt, str)]
        if texts and len(texts) < len(listed):
            raise DataError("some prompts are texts and others are tokens: pass all of one kind.")
        if texts and tokenizer is None:
            raise DataError(
                "the prompts are text and there is no tokenizer to read them with: pass tokenizer= to fit or load."
            )
        rows = language.prompts(texts, tokenizer) if texts else [tokens_of(row, i) for i, row in enumerate(listed)]
    if not rows:
        raise DataError("there are no prompts.")
    empty = next((i for i, row in enumerate(rows) if not row), None)
    if empty is not None:
        raise DataError(f"prompt {empty} has no token, so there is nothing to go on from. Write something.")
    if language.vocabulary is not None:
        for i, row in enumerate(rows):
            strange = next((token for token in row if not 0 <= token < language.vocabulary), None)
            if strange is not None:
                raise DataError(
                    f"prompt {i} has the token {strange}, and the network knows 0..{language.vocabulary - 1}: was it made by "
                    "another tokenizer?"
                )
    return rows


def tokens_of(row: Any, number: int) -> list[int]:
    """Return a list of tokens as plain integers.

    Raises:
        DataError: it is none.
    """
    listed = row.tolist() if hasattr(row, "tolist") else row
    if not isinstance(listed, Sequence) or not all(isinstance(token, int) for token in listed):
        raise DataError(f"prompt {number} is {row!r:.80}: a text or a list of integers is expected.")
    return list(listed)


def padded(
    rows: Sequence[Sequence[int]], fill: int, device: torch.device, *, encoder_decoder: bool
) -> tuple[Tensor, Tensor]:
    """Return tokens and attention mask (n, longest), int64.

    A causal model's are padded on the left, so that all texts go on at one position; an encoder's on the right, since an
    encoder with absolute positions would count padding.
    """
    width = max(map(len, rows))

    def line(real: Sequence[int], gap: Sequence[int]) -> list[int]:
        return [*real, *gap] if encoder_decoder else [*gap, *real]

    ids = [line(row, [fill] * (width - len(row))) for row in rows]
    mask = [line([1] * len(row), [0] * (width - len(row))) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def check_length(rows: Sequence[Sequence[int]], new: int, config: Any, encoder_decoder: bool) -> None:
    """Check that prompts and what is written behind them stay within the positions that a network knows.

    Raises:
        DataError: they don't; positions beyond would break the network, or mean nothing to it.
    """
    limit = positions_known(config)
    if limit is None:
        return
    lengths = [max(len(row), new) if encoder_decoder else len(row) + new for row in rows]
    worst = max(range(len(rows)), key=lengths.__getitem__)
    if lengths[worst] > limit:
        raise DataError(
            f"prompt {worst} has {len(rows[worst])} tokens, and max_new_tokens={new}, but the network knows {limit} positions: "
            "shorten the prompt, or lower max_new_tokens."
        )
