"""Checks of rows: each is a mapping, all have the same known columns, and in these stands what belongs there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bayespeft.data.checks import check_label_given
from bayespeft.data.columns import (
    CHOICES,
    CONVERSATIONAL,
    FORMS,
    LABELS,
    TAGS,
    TEXTS,
    TOKENISED,
    TOKENS,
    WORDS,
    Row,
    expected_in,
    label_columns,
    label_of,
    remedy,
    without_labels,
)
from bayespeft.data.takes import Takes
from bayespeft.errors import DataError


def mapping(row: object, number: int) -> Row:
    """Return a row that is a mapping of columns.

    Raises:
        DataError: it is something else.
    """
    if isinstance(row, Mapping):
        return row
    hint = " Write texts as rows: [{'text': t} for t in texts]." if isinstance(row, str) else ""
    raise DataError(
        f"row {number} is a {type(row).__name__}, but a mapping of columns is expected. Accepted columns: "
        f"{FORMS}.{hint}"
    )


def checked(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows as they are, each after it was checked.

    Raises:
        DataError: columns are there in some rows only; a text is no string; a label is None or NaN.
    """
    expected: list[str] = []
    tokenised: bool | None = None
    for number, row in enumerate(rows):
        tokenised = TOKENS in row if tokenised is None else tokenised
        labels = label_columns(row)
        words = (WORDS,) if labels is TAGS else ()
        known = (*(TOKENISED if tokenised else (*TEXTS, *CONVERSATIONAL, CHOICES, *words)), *labels)
        columns = [column for column in known if column in row]
        if number == 0:
            expected = columns
        elif columns != expected:
            raise DataError(_uneven(expected, columns, number))
        for column in columns:
            if column in labels:
                check_label_given(row[column], number, column)
                check_unicode(row[column], f"column {column!r} of row {number}", name=True)
            elif (wanted := expected_in(column, row[column])) is not None:
                raise DataError(f"column {column!r} of row {number} is {row[column]!r:.80}: {wanted} is expected.")
            else:
                check_unicode(row[column], f"column {column!r} of row {number}")
        yield row


def check_unicode(value: object, where: str, name: bool = False) -> None:
    """Raise `DataError` for a text, or one of several, with half of a pair of surrogates: no tokenizer can read it.

    Args:
        value: anything; what is no text, or list of texts, passes.
        where: what it is, for the message.
        name: texts are names of classes, which can't hold NUL either, as no file can.
    """
    for text in value if isinstance(value, (list, tuple)) else [value]:
        if name and isinstance(text, str) and "\0" in text:
            raise DataError(f"{where} is {text!r:.80}, with the character NUL: leave it out.")
        if isinstance(text, str) and not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{where} has a character that is none, {text[error.start]!r} at position "
                    f"{error.start}: decode the text again, or drop it by text.encode('utf-8', 'ignore').decode()."
                ) from None


def token_columns(rows: Iterable[Row], takes: Takes) -> Iterator[dict[str, Any]]:
    """Check rows that are tokenised already, and yield those of their columns that are inputs, and `labels`.

    Args:
        rows: with `input_ids`.
        takes: says which columns are inputs of the network.

    Raises:
        DataError: as `checked`; or a column of the first row is missing in another, or None.
    """
    names: list[str] = []
    for number, row in enumerate(checked(rows)):
        names = names or [name for name in without_labels(row) if takes.column(name)]
        lacking = next((name for name in names if row.get(name) is None), None)
        if lacking is not None:
            raise DataError(
                f"column {lacking!r} of row {number} is missing or None: all rows must have what row 0 has, and a value in it."
            )
        label = label_of(row, number)
        yield {name: row[name] for name in names} | ({} if label is None else {"labels": label})


def no_tokenizer(row: Row) -> DataError:
    """Return the error that says that raw rows can't be read without a tokenizer, or not at all."""
    found = ", ".join(map(str, row))
    if {*TEXTS, *CONVERSATIONAL, WORDS} & set(row):
        return DataError(
            f"the rows are raw text (columns {found}) and there is no tokenizer to read them with: pass tokenizer=."
        )
    return DataError(
        f"no known columns: found {found or 'none'}; accepted: {FORMS}. {remedy(row, 'text')} Or pass a DataLoader of tensors."
    )


def _uneven(expected: list[str], columns: list[str], number: int) -> str:
    had_label, has_label = ([c for c in names if c in (*LABELS, *TAGS)] for names in (expected, columns))
    if bool(had_label) != bool(has_label):
        with_label, without = (0, number) if had_label else (number, 0)
        return (
            f"row {with_label} has a label (column {(had_label or has_label)[0]!r}) and row {without} has none. "
            "Give all rows a label, or none."
        )
    return (
        f"row {number} has the columns {', '.join(columns) or 'none of the known ones'}, but row 0 has "
        f"{', '.join(expected)}: all rows must have the same ones."
    )
