"""Words to tokens, and which word each token belongs to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bayespeft.errors import DataError

Tokenised = tuple[dict[str, Any], list[int | None]]
"""Columns of one row (`input_ids` and so on), and for each token the number of its word, None for special tokens."""


def words_to_tokens(tokenizer: Any, rows: Sequence[Sequence[str]], limit: int | None) -> list[Tokenised]:
    """Return the tokens of rows of words; `whole` says how many there were where some were cut off.

    A word that the tokenizer writes nothing for, such as a control character, becomes its unknown token: a word has a label,
    and needs a token to have it.

    Raises:
        DataError: the tokenizer can't say which word a token is of, or there is no token for a word.
    """
    texts = [list(words) for words in rows]
    found = _encoded(tokenizer, texts)
    for i, (_, word_of) in enumerate(found):
        lost = sorted(set(range(len(texts[i]))) - set(word_of))
        if lost:
            texts[i] = _written(tokenizer, i, texts[i], lost)
            found[i] = _encoded(tokenizer, [texts[i]])[0]
    long = [i for i, (example, _) in enumerate(found) if len(example["input_ids"]) > (limit or math.inf)]
    cut = _encoded(tokenizer, [texts[i] for i in long], truncation=True, max_length=limit) if long else []
    for i, (example, word_of) in zip(long, cut, strict=True):
        found[i] = {**example, "whole": len(found[i][0]["input_ids"])}, word_of
    return found


def _encoded(tokenizer: Any, rows: Sequence[Sequence[str]], **options: Any) -> list[Tokenised]:
    if not getattr(tokenizer, "is_fast", False):
        raise DataError(
            f"token_classification must know which word each token is of, and {type(tokenizer).__name__} does not tell: load "
            "a fast tokenizer (use_fast=True)."
        )
    try:
        # verbose=False: what is to be said of long texts is said for all of the data.
        encoded = tokenizer(rows, is_split_into_words=True, verbose=False, **options)
    except (AssertionError, ValueError) as error:
        raise DataError(f"{type(tokenizer).__name__} can't read lists of words: {error}") from error
    return [({name: list(encoded[name][i]) for name in encoded}, list(encoded.word_ids(i))) for i in range(len(rows))]


def _written(tokenizer: Any, row: int, words: list[str], lost: list[int]) -> list[str]:
    """Return words with the unknown token in the place of those that no token stands for."""
    unknown = tokenizer.unk_token
    if unknown is None:
        raise DataError(
            f"row {row}: the tokenizer writes nothing for word {lost[0]}, {words[lost[0]]!r}, and has no unknown token: leave "
            "the word and its label out."
        )
    return [unknown if i in set(lost) else word for i, word in enumerate(words)]
