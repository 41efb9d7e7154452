"""Texts to tokens: special tokens once at each end, and targets that spell what they say where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def added(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that a tokenizer puts before and behind a text."""
    plain: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(plain), -1, -1):
        if plain and whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    return [], []


def repeated(tokens: Sequence[int], front: Sequence[int]) -> int:
    """Return how many of the first tokens say again what a tokenizer has put in front of a text that says it itself.

    A text that a chat template wrote begins with the start token already.
    """
    count, size = 0, len(front)
    while size and list(tokens[count + size : count + 2 * size]) == list(front) == list(tokens[count : count + size]):
        count += size
    return count


def ending(tokens: Sequence[int], most: int, front: Sequence[int] = ()) -> list[int]:
    """Return as many tokens as fit: the last ones, behind the special ones in `front` where the text begins with these.

    A network that has always seen a start token is another without it.
    """
    if len(tokens) <= most:
        return list(tokens)
    kept = min(len(front), most - 1) if list(tokens[: len(front)]) == list(front) else 0
    return [*tokens[:kept], *tokens[len(tokens) - most + kept :]]


def whole_texts(tokenizer: Any, texts: Sequence[str], *, behind: bool = True) -> list[list[int]]:
    """Return the tokens of texts with the tokenizer's special tokens, each once: `behind` them, too, or only before."""
    encoded: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
    front, end = added(tokenizer)
    cut = 0 if behind else len(end)
    return [ids[repeated(ids, front) : len(ids) - cut] for ids in encoded]


def continuations(
    tokenizer: Any, texts: Sequence[str], prompts: Sequence[Sequence[int]], targets: Sequence[str]
) -> tuple[list[list[int]], list[int]]:
    """Return tokens of targets such that prompt and target, decoded together, read as the tokenizer reads the joined text.

    A tokenizer in SentencePiece's manner writes a space before any text that it is given alone, which is no part of a
    target in the middle of a word.

    Args:
        tokenizer: reads and spells.
        texts: of the prompts, n of them.
        prompts: their tokens.
        targets: what comes behind each.

    Returns:
        The tokens of each target, and the numbers of those that no tokens found here spell.
    """
    if not targets:
        return [], []
    found: list[list[int]] = tokenizer(list(targets), add_special_tokens=False, verbose=False)["input_ids"]
    both = [text + target for text, target in zip(texts, targets, strict=True)]
    joint: list[list[int]] = tokenizer(both, add_special_tokens=False, verbose=False)["input_ids"]
    wanted = list(zip(both, _spelled(tokenizer, joint), strict=True))
    front, _ = added(tokenizer)
    lost = []
    for i, reads in enumerate(_spelled(tokenizer, [[*p, *t] for p, t in zip(prompts, found, strict=True)])):
        if reads in wanted[i]:
            continue
        for tokens in _others(tokenizer, [*front, *joint[i]], list(prompts[i]), texts[i], targets[i]):
            if _spelled(tokenizer, [[*prompts[i], *tokens]])[0] in wanted[i]:
                found[i] = tokens
                break
        else:
            lost.append(i)
    return found, lost


def _others(tokenizer: Any, joint: list[int], prompt: list[int], text: str, target: str) -> list[list[int]]:
    """Return further tokens of a target: those that follow the prompt in the joined text, or another beginning."""
    found = [joint[len(prompt) :]] if joint[: len(prompt)] == prompt else []
    for anchor in ("\n", ".", text[-1:]):
        before: list[int] = tokenizer(anchor, add_special_tokens=False)["input_ids"]
        ids: list[int] = tokenizer(anchor + target, add_special_tokens=False)["input_ids"]
        if ids[: len(before)] == before:
            found.append(ids[len(before) :])
    return found


def _spelled(tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[str]:
    texts: list[str] = tokenizer.batch_decode(
        [list(row) for row in rows], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return texts
