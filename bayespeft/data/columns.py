"""The columns of rows: their names, what may stand in them, and what is said where labels are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bayespeft.errors import DataError

Row = Mapping[str, Any]

LABELS = ("label", "labels", "answer")
# A row of words has a label for each word, and none for the whole row.
WORDS = "tokens"
TAGS = ("labels", "ner_tags", "tags")
TOKENS = "input_ids"
MASK = "attention_mask"
TOKEN_TYPES = "token_type_ids"
TOKENISED = (TOKENS, MASK, TOKEN_TYPES)
# A network reads these columns of a row as text, in this order.
QUESTION = "question"
INPUT_TEXTS = ("text", "text_pair", QUESTION, "source")
TEXTS = (*INPUT_TEXTS, "target")
# These columns hold texts, or lists of messages.
CONVERSATIONAL = ("prompt", "completion", "messages")
CHOICES = "choices"
# A row with one of these columns has an answer that is generated, not chosen among others.
GENERATED = ("source", "prompt", "messages")
# An image or a sound, which a processor reads; and what a processor makes of them.
IMAGE, AUDIO = "image", "audio"
MEDIA = (IMAGE, AUDIO)
PROCESSED = ("pixel_values", "input_values", "input_features")
KNOWN = tuple(dict.fromkeys((*TEXTS, CHOICES, *CONVERSATIONAL, WORDS, *TOKENISED, *MEDIA, *PROCESSED, *LABELS, *TAGS)))


class TableInteger(int):
    """A whole number that was written into a cell of a table, where all are texts: it may be the name of a class."""


FORMS = (
    "text[, text_pair][, label] | tokens[, ner_tags] | question, choices[, answer] | source[, target] | "
    "prompt[, completion] | messages | input_ids[, attention_mask][, token_type_ids][, labels] | "
    "image[, label] | image, question, choices[, answer] | pixel_values[, label] | audio[, label] | input_values[, label]"
)
"""The columns that rows may have, each way of writing them behind a bar; those in brackets may be left out."""


def label_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Return which columns hold labels in rows that have these columns.

    Many data sets bring words beside a text, or beside its tokens: those are no rows of words.
    """
    return TAGS if WORDS in columns and "text" not in columns and TOKENS not in columns else LABELS


def missing_labels(purpose: str, where: str = "") -> DataError:
    """Return the error that says that data has no labels.

    Args:
        purpose: what they are needed for.
        where: which data lacks them, where that is not plain.
    """
    names = f"{', '.join(map(repr, LABELS[:-1]))} or {LABELS[-1]!r}"
    return DataError(f"{purpose} needs labels: column {names}{where and f' of {where}'} is missing.")


def label_of(row: Row, number: int) -> Any:
    """Return what a row has in a column that holds labels; None if it has no such column.

    Raises:
        DataError: it has several, and they differ.
    """
    found = {name: row[name] for name in label_columns(row) if row.get(name) is not None}
    if len(found) > 1 and len({repr(value) for value in found.values()}) > 1:
        raise DataError(f"row {number} has the labels {found}, which differ: leave all but one of these columns out.")
    return next(iter(found.values()), None)


def without_labels(row: Row) -> dict[str, Any]:
    """Return a row without its labels, which may be of classes that nobody here knows."""
    return {name: value for name, value in row.items() if name not in label_columns(row)}


def is_conversation(value: object) -> bool:
    """Whether something is a list of messages, which are mappings."""
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(message, Mapping) for message in value)


def expected_in(column: str, value: object) -> str | None:
    """Return what a column must have where a value is something else; None where it is right, or the column is any other."""
    if column in TEXTS and not isinstance(value, str):
        return "a string"
    if column in (CHOICES, WORDS) and not _is_texts(value):
        return "a list of strings"
    if column in CONVERSATIONAL and not (is_conversation(value) or (column != "messages" and isinstance(value, str))):
        return "a list of messages" if column == "messages" else "a string or a list of messages"
    return None


def _is_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(text, str) for text in value)


def remedy(row: Row, *wanted: str) -> str:
    """Return what to pass where columns are missing whose data may stand under other names."""
    others = [name for name, value in row.items() if name not in KNOWN and isinstance(value, str)]
    # In a file of comma-separated values everything is a string; a text is the longest of them.
    text = sorted(others, key=lambda name: len(row[name]), reverse=True)[:1]
    named = zip(wanted, [*text, *("..." for _ in wanted)], strict=False)
    return f"Say which column is which, as in columns={dict(named)!r}."
