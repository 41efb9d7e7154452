"""Prompts in any accepted form to tokens, and tokens to a padded batch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from bayespeft.data.columns import is_conversation
from bayespeft.data.row_checks import check_unicode
from bayespeft.errors import DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.chat import Message
from bayespeft.likelihoods.language_modelling import LanguageModelling
from bayespeft.networks.positions import positions_known
from bayespeft.networks.tokens import IGNORED
from bayespeft.utils.annotations import ELSEWHERE

Prompts = Annotated[
    str
    | Sequence[str]
    | Sequence[Sequence[int]]
    | Tensor
    | Mapping[str, Any]
    | Sequence[Message]
    | Sequence[Sequence[Message]],
    ELSEWHERE,
]


def language_of(model: nn.Module, likelihood: Likelihood, tokenizer: Any) -> LanguageModelling:
    """Return how this network reads prompts: the likelihood that it was fitted with, or, after another, prompts as they are.

    Raises:
        AttachError: the network has no vocabulary to write with.
    """
    if isinstance(likelihood, LanguageModelling):
        return likelihood
    return LanguageModelling(template="{source}").resolve(model, tokenizer, None)


def as_tokens(
    prompts: Prompts, language: LanguageModelling, tokenizer: Any, padding: Collection[int] = ()
) -> list[list[int]]:
    """Return the tokens of each prompt.

    Args:
        prompts: a text; texts; a conversation, which is a list of messages {"role": ..., "content": ...}; conversations; lists
            of tokens; (n, T) tokens; one prompt's (T,) tokens; or a mapping with `input_ids` of such a form, and
            `attention_mask`, as tokenizers return it. Texts are written into the likelihood's template, conversations into the
            tokenizer's, tokens are taken as they are.
        language: reads texts.
        tokenizer: for texts.
        padding: tokens that pad. Several prompts of one length, without a mask, must neither begin nor end with one.

    Raises:
        DataError: there are none, one is empty, they are of another form, they are text and there is no tokenizer, or may be
            padded and have no mask.
    """
    talks = conversations_of(prompts, tokenizer)
    texts = None if talks or isinstance(prompts, Mapping) else texts_of(prompts, "prompt", tokenizer)
    for number, talk in enumerate(talks):
        check_unicode([message.get("content") for message in talk], f"prompt {number}")
    if talks:
        rows = [row.source for row in language.reader(tokenizer).rows([{"prompt": talk} for talk in talks], "prompt")]
    elif texts:
        rows = language.prompts(texts, tokenizer)
    elif isinstance(prompts, Mapping):
        if prompts.get("input_ids") is None:
            raise DataError(f"a mapping of prompts needs input_ids, found {', '.join(map(str, prompts)) or 'nothing'}.")
        rows, mask = token_rows(prompts["input_ids"], "prompt"), prompts.get("attention_mask")
        rows = _unmasked(rows, padding) if mask is None else _masked(rows, mask)
    else:
        rows = _unmasked(token_rows(prompts, "prompt"), padding)
    if not rows:
        raise DataError("there are no prompts.")
    empty = next((i for i, row in enumerate(rows) if not row), None)
    if empty is not None:
        raise DataError(f"prompt {empty} has no token, so there is nothing to go on from. Write something.")
    check_known(rows, "prompt", language)
    return rows


def check_known(rows: Sequence[Sequence[int]], what: str, language: LanguageModelling) -> None:
    """Check that tokens are in the network's vocabulary.

    Raises:
        DataError: one is not; the message names it.
    """
    for i, row in enumerate(rows if language.vocabulary is not None else ()):
        strange = next((token for token in row if not 0 <= token < (language.vocabulary or 0)), None)
        if strange is not None:
            why = "leave out what is to be ignored" if strange == IGNORED else "was it made by another tokenizer"
            raise DataError(
                f"{what} {i} has the token {strange}, and the network knows 0..{(language.vocabulary or 0) - 1}: {why}"
                f"{'.' if strange == IGNORED else '?'}"
            )


def conversations_of(given: Any, tokenizer: Any) -> list[Sequence[Message]]:
    """Return conversations, one or several; none where texts or tokens are given.

    Raises:
        DataError: some are conversations and others are not, or there is no tokenizer to write them with.
    """
    if is_conversation(given):
        found = [given]
    elif isinstance(given, (list, tuple)):
        found = [one for one in given if is_conversation(one)]
        if found and len(found) < len(given):
            raise DataError("some prompts are conversations and others are not: pass all of one kind.")
    else:
        found = []
    if found and tokenizer is None:
        raise DataError("the prompts are conversations and there is no tokenizer to write them with: pass tokenizer=.")
    return found


def texts_of(given: Any, what: str, tokenizer: Any) -> list[str]:
    """Return texts, one or several; none where tokens are given.

    Raises:
        DataError: some are texts and others are tokens, or there is no tokenizer to read them with, or no list; or a text has
            a character that is none.
    """
    listed = [given] if isinstance(given, str) else _listed(given, what)
    texts = [one for one in listed if isinstance(one, str)]
    if texts and len(texts) < len(listed):
        raise DataError(f"some {what}s are texts and others are tokens: pass all of one kind.")
    if texts and tokenizer is None:
        raise DataError(
            f"the {what}s are text and there is no tokenizer to read them with: pass tokenizer= to fit or load."
        )
    for number, text in enumerate(texts):
        check_unicode(text, f"{what} {number}")
    return texts


def token_rows(given: Any, what: str) -> list[list[int]]:
    """Return lists of plain integers, from lists, tensors or arrays of them; integers alone are one row.

    Raises:
        DataError: they are no integers.
    """
    if isinstance(given, Tensor) and (given.is_floating_point() or given.dim() not in (1, 2)):
        raise DataError(
            f"tokens must be integers (n, length) or (length,), got {given.dtype} of shape {tuple(given.shape)}."
        )
    listed = _listed(given, what)
    rows = [listed] if listed and all(map(_is_token, listed)) else listed
    return [_tokens(row, what, i) for i, row in enumerate(rows)]


def _tokens(row: Any, what: str, number: int) -> list[int]:
    listed = row.tolist() if hasattr(row, "tolist") else row
    if isinstance(listed, (bytes, bytearray)):  # sequences of integers, but of no vocabulary
        raise DataError(f"{what} {number} is {row!r:.80}: bytes are no text, so decode them first (.decode()).")
    if not isinstance(listed, Sequence) or not all(map(_is_token, listed)):
        raise DataError(f"{what} {number} is {row!r:.80}: a text or a list of integers is expected.")
    return [int(token) for token in listed]


def _is_token(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _listed(given: Any, what: str) -> list[Any]:
    found = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(found, (bytes, bytearray)):
        raise DataError(f"{what}s are {given!r:.80}: bytes are no text, so decode them first (.decode()).")
    if isinstance(found, Mapping) or not isinstance(found, Iterable):
        raise DataError(f"{what}s are {given!r:.80}: texts, or lists of integers, are expected.")
    return list(found)


def _masked(rows: list[list[int]], mask: Any) -> list[list[int]]:
    """Leave tokens out where a mask of the same form is 0."""
    lines = _listed(mask, "attention_mask")
    lines = lines if lines and isinstance(lines[0], Iterable) else [lines]
    if len(lines) != len(rows):
        raise DataError(f"attention_mask has {len(lines)} rows for {len(rows)} prompts.")
    found = []
    for i, (row, line) in enumerate(zip(rows, lines, strict=True)):
        real = _listed(line, "attention_mask")
        if len(real) != len(row):
            raise DataError(f"prompt {i} has {len(row)} tokens, and its attention_mask has {len(real)}.")
        found.append([token for token, keep in zip(row, real, strict=True) if keep])
    return found


def _unmasked(rows: list[list[int]], padding: Collection[int]) -> list[list[int]]:
    """Check that rows have not been padded: then all are of one length, and one begins or ends with padding.

    Such a token may belong to the text, where it also begins or ends texts. That is not guessed.
    """
    if len(rows) > 1 and len({len(row) for row in rows}) == 1:
        for i, row in enumerate(rows):
            if row and (row[0] in padding or row[-1] in padding):
                raise DataError(
                    f"prompt {i} begins or ends with a padding token ({', '.join(map(str, sorted(padding)))}), and whether it "
                    'is padding or text can\'t be told: pass {"input_ids": ..., "attention_mask": ...}.'
                )
    return rows


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


def check_length(rows: Sequence[Sequence[int]], new: int, model: nn.Module, encoder_decoder: bool) -> None:
    """Check that prompts and what is written behind them stay within the positions that a network knows.

    Raises:
        DataError: they don't; positions beyond would break the network, or mean nothing to it.
    """
    limit = positions_known(model)
    if limit is None:
        return
    lengths = [max(len(row), new) if encoder_decoder else len(row) + new for row in rows]
    worst = max(range(len(rows)), key=lengths.__getitem__)
    if lengths[worst] > limit:
        raise DataError(
            f"prompt {worst} has {len(rows[worst])} tokens, and max_new_tokens={new}, but the network knows {limit} positions: "
            "shorten the prompt, or lower max_new_tokens."
        )
