"""Conversations to tokens, as the tokenizer's own chat template writes them, and which of the tokens are answers."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from itertools import groupby
from typing import Any

from bayespeft.errors import DataError

Message = Mapping[str, Any]
"""`role` ("system", "user", "assistant", ...), `content`, and whatever else the template reads."""

_MARKS_ANSWERS = re.compile(r"\{%-?\s*generation\s*-?%\}")
# Before 5.0 the mask of answers holds the token behind each answer, too.
_MASK_IS_EXACT = int(version("transformers").split(".")[0]) >= 5


def prompt_tokens(tokenizer: Any, messages: Sequence[Message], what: str, tools: Any = None) -> list[int]:
    """Return the tokens of a conversation up to where the assistant's next message begins.

    Args:
        tokenizer: with a chat template.
        messages: the last is not the assistant's.
        what: these are, for messages: "prompt 3".
        tools: for the template.

    Raises:
        DataError: there is no template, it can't write them, or there is nothing to answer.
    """
    _check(messages, what)
    if messages[-1]["role"] == "assistant":
        raise DataError(
            f"{what} ends with the assistant's message, so there is nothing to answer: leave that message out."
        )
    return _ids(tokenizer, messages, what, tools, add_generation_prompt=True)


def scored_tokens(
    tokenizer: Any,
    messages: Sequence[Message],
    what: str,
    *,
    given: int = 0,
    ends: Collection[int] = (),
    tools: Any = None,
) -> tuple[list[int], list[bool]]:
    """Return the tokens of a conversation, and which of them belong to answers: to messages of the assistant.

    A template with `{% generation %}` says it itself, from transformers 5.0 on. With any other an answer is what is written
    behind the conversation before it and the assistant's header, up to the first end token.

    Args:
        tokenizer: with a chat template.
        messages: the whole conversation.
        what: these are, for messages.
        given: so many messages at the beginning are no answers, whoever's they are.
        ends: end tokens.
        tools: for the template.

    Raises:
        DataError: there is no template, it can't write them, there is no answer, or it can't be told where one begins.
    """
    _check(messages, what)
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    answers = [i for i in turns if i >= given]
    if not answers or answers[0] == 0:
        raise DataError(
            f"{what} has no answer to learn from: a message of the role 'assistant' behind another one is needed; found "
            f"{', '.join(message['role'] for message in messages)}."
        )
    if _MASK_IS_EXACT and _MARKS_ANSWERS.search(_template(tokenizer, what, tools)):
        marked = _apply(tokenizer, messages, what, tools, return_assistant_tokens_mask=True)
        ids, runs = list(marked["input_ids"]), [len(list(run)) * [on] for on, run in groupby(marked["assistant_masks"])]
        if sum(1 for run in runs if run[0]) != len(turns):
            raise DataError(
                f"the chat template's {{% generation %}} does not mark each of the {len(turns)} messages of the assistant in "
                f"{what}: put it around the content of each in tokenizer.chat_template."
            )
        skipped = iter(turn >= given for turn in turns)
        return ids, [bool(on) for run in runs for on in (run if not run[0] or next(skipped) else len(run) * [0])]
    ids = _ids(tokenizer, messages, what, tools)
    scored = [False] * len(ids)
    for turn in answers:
        begin = _prefix(_ids(tokenizer, messages[:turn], what, tools, add_generation_prompt=True), ids, turn, what)
        last = turn == len(messages) - 1
        end = len(ids) if last else _prefix(_ids(tokenizer, messages[: turn + 1], what, tools), ids, turn, what)
        own = next((i + 1 for i in range(begin, end) if ids[i] in ends), end)
        if own <= begin:
            raise DataError(f"{what}: the chat template writes nothing of the answer in message {turn}.")
        scored[begin:own] = [True] * (own - begin)
    return ids, scored


def _prefix(part: list[int], whole: list[int], turn: int, what: str) -> int:
    """Return the length of a part that is a beginning of the whole."""
    if whole[: len(part)] != part:
        raise DataError(
            f"{what}: what the chat template writes before the answer in message {turn} is no beginning of what it writes with "
            "it, so it can't be told where the answer begins. Mark answers with {% generation %} in "
            "tokenizer.chat_template, or write rows with source and target."
        )
    return len(part)


def _ids(tokenizer: Any, messages: Sequence[Message], what: str, tools: Any, **options: Any) -> list[int]:
    return list(_apply(tokenizer, messages, what, tools, **options)["input_ids"])


def _apply(tokenizer: Any, messages: Sequence[Message], what: str, tools: Any, **options: Any) -> Mapping[str, Any]:
    _template(tokenizer, what, tools)
    try:
        written: Mapping[str, Any] = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tools=tools, tokenize=True, return_dict=True, **options
        )
    except Exception as error:  # a template is a program, which may raise anything
        raise DataError(f"the chat template can't write {what}: {type(error).__name__}: {error}") from error
    return written


def _template(tokenizer: Any, what: str, tools: Any) -> str:
    try:
        template: str = tokenizer.get_chat_template(None, tools)
    except (AttributeError, ValueError) as error:
        raise DataError(
            f"{what} is a conversation, and the tokenizer has no chat template to write it with: set "
            "tokenizer.chat_template, or write rows with source and target."
        ) from error
    return template


def _check(messages: Sequence[Message], what: str) -> None:
    for number, message in enumerate(messages):
        if not isinstance(message.get("role"), str):
            raise DataError(
                f"message {number} of {what} has no role: a message is {{'role': 'user', 'content': ...}}; found "
                f"{', '.join(map(str, message)) or 'nothing'}."
            )
