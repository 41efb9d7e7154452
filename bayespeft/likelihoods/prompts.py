"""The prompt of a multiple-choice question, and the single tokens that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from bayespeft.errors import DataError
from bayespeft.likelihoods.tokens import added

LETTERS = ascii_uppercase


def multiple_choice(question: str, choices: Sequence[str], template: str, labels: Sequence[str] = LETTERS) -> str:
    """Write a question with labelled choices.

    Args:
        question: the question.
        choices: at most as many as labels.
        template: text with `{question}` and `{choices}`; it ends where the answer's label comes next.
        labels: what stands before each choice; letters unless given.
    """
    lettered = "\n".join(f"{letter}. {choice}" for letter, choice in zip(labels, choices, strict=False))
    return template.replace("{choices}", lettered).replace("{question}", question)


def about_image(processor: Any, text: str, images: int = 1) -> str:
    """Return a prompt about images as a processor's chat template writes it, or behind the tokens that stand for them.

    Special tokens in front are those of the template, or of the tokenizer where it has none; behind there are none.

    Raises:
        DataError: the processor has neither a template nor a token for images.
    """
    if getattr(processor, "chat_template", None):
        content = [*[{"type": "image"}] * images, {"type": "text", "text": text}]
        messages = [{"role": "user", "content": content}]
        return str(processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    image = getattr(processor, "image_token", None)
    if image is None:
        raise DataError(
            f"{type(processor).__name__} has no chat_template and no image_token, so that it is not known where a prompt has "
            "its image: set processor.chat_template, or pass a DataLoader of what the network takes."
        )
    front = processor.tokenizer.convert_ids_to_tokens(added(processor.tokenizer)[0])
    return "".join(front) + str(getattr(image, "content", image)) * images + "\n" + text


def answer_tokens(tokenizer: Any, prompt: str, answers: Sequence[str]) -> tuple[int, ...]:
    """Return the one token that each answer adds to a prompt.

    A space is written before the answer unless the prompt ends in white space, as the network would write it.

    Raises:
        DataError: an answer is not exactly one more token, or two answers are the same token.
    """
    gap = "" if prompt[-1:].isspace() else " "
    start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    tokens = []
    for answer in answers:
        ids = tokenizer(prompt + gap + answer, add_special_tokens=False)["input_ids"]
        if ids[:-1] != start:
            extra = len(ids) - len(start)
            raise DataError(
                f"answer {answer!r} is {extra} tokens of {type(tokenizer).__name__} after this prompt, but a label must "
                "be exactly one; choose other labels= or another template= (does it end in a space?)."
            )
        tokens.append(ids[-1])
    if len(set(tokens)) < len(tokens):
        raise DataError(f"two of the answers {', '.join(answers)} are the same token of {type(tokenizer).__name__}.")
    return tuple(tokens)
