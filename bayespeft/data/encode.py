"""Rows of columns to rows of token numbers: the columns are checked, then the likelihood's `encode` tokenises.

Rows that are tokenised already (they have `input_ids`) pass as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from bayespeft.data.checks import check_label_given
from bayespeft.data.columns import (
    CHOICES,
    FORMS,
    LABELS,
    SPOKEN,
    TAGS,
    TEXTS,
    TOKENISED,
    TOKENS,
    WORDS,
    Row,
    expected_in,
    label_columns,
    label_of,
    without_labels,
)
from bayespeft.errors import DataError

Encode = Callable[[Sequence[Row]], list[dict[str, Any]]]
"""Tokenises rows. For each row a dict: `input_ids`, optionally `attention_mask`, `token_type_ids` (lists of integers
of one length), `labels` (a number, or one number per token) if the row has a label, and whatever else its likelihood
reads: lists of integers (padded with 0) or integers. `whole` says how many tokens there were where some were cut off; it is
taken out, and one warning says how many rows were cut."""

_CHUNK = 1000  # rows given to `encode` at a time: enough for the tokenizer's threads, little in memory


class Cut:
    """Counts the rows that lost tokens to a limit, to say so once for all of the data."""

    def __init__(self) -> None:
        self._rows, self._kept, self._longest = 0, 0, 0

    def noted(self, row: dict[str, Any]) -> dict[str, Any]:
        """Take note of a row, and return it without its `whole`."""
        whole = row.pop("whole", 0)
        if whole > len(row[TOKENS]):
            self._rows += 1
            self._kept = max(self._kept, len(row[TOKENS]))
            self._longest = max(self._longest, whole)
        return row

    def tell(self, rows: int) -> None:
        """Warn if any of so many rows was cut."""
        if self._rows:
            warnings.warn(
                f"{self._rows} of {rows} texts are longer than the {self._kept} tokens that max_length=, tokenizer or network "
                f"allow, and were cut; the longest has {self._longest} tokens.",
                stacklevel=2,
            )


def encoded_rows(
    rows: Iterable[Row], encode: Encode | None, takes: Callable[[str], bool] = TOKENISED.__contains__
) -> Iterator[dict[str, Any]]:
    """Check rows and yield each as token columns (see `Encode`), lazily.

    Args:
        rows: read once; a generator will do.
        encode: needed for rows that are not tokenised yet.
        takes: whether a column of rows that are tokenised is an input of the network.

    Raises:
        DataError: no rows; a row is no mapping; columns are missing, or there in some rows only; a text is no string;
            a label is None or NaN; the rows are raw and there is no `encode`.
    """
    iterator = iter(rows)
    first = next(iterator, None)
    if first is None:
        raise DataError("the data is empty: it has no rows.")
    checked = _checked(chain([first], iterator), tokenised=TOKENS in _mapping(first, 0))
    if TOKENS in first:
        columns = [name for name in without_labels(first) if takes(name)]
        yield from (_token_columns(row, columns, number) for number, row in enumerate(checked))
        return
    if encode is None:
        raise DataError(_no_encode(first))
    start, cut = 0, Cut()
    while chunk := list(islice(checked, _CHUNK)):
        yield from map(cut.noted, _encode(encode, chunk, start))
        start += len(chunk)
    cut.tell(start)


def _checked(rows: Iterable[Row], tokenised: bool) -> Iterator[Row]:
    expected: list[str] = []
    for number, row in enumerate(rows):
        labels = label_columns(_mapping(row, number))
        words = (WORDS,) if labels is TAGS else ()
        known = (*(TOKENISED if tokenised else (*TEXTS, *SPOKEN, CHOICES, *words)), *labels)
        columns = [column for column in known if column in _mapping(row, number)]
        if number == 0:
            expected = columns
        elif columns != expected:
            raise DataError(_uneven(expected, columns, number))
        for column in columns:
            if column in labels:
                check_label_given(row[column], number, column)
            elif (wanted := expected_in(column, row[column])) is not None:
                raise DataError(f"column {column!r} of row {number} is {row[column]!r:.80}: {wanted} is expected.")
        yield row


def _mapping(row: object, number: int) -> Row:
    if isinstance(row, Mapping):
        return row
    hint = " Write texts as rows: [{'text': t} for t in texts]." if isinstance(row, str) else ""
    raise DataError(
        f"row {number} is a {type(row).__name__}, but a mapping of columns is expected. Accepted columns: "
        f"{FORMS}.{hint}"
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


def _token_columns(row: Row, names: Sequence[str], number: int) -> dict[str, Any]:
    lacking = next((name for name in names if row.get(name) is None), None)
    if lacking is not None:
        raise DataError(
            f"column {lacking!r} of row {number} is missing or None: all rows must have what row 0 has, and a value in it."
        )
    columns = {name: row[name] for name in names}
    label = label_of(row, number)
    return columns if label is None else {**columns, "labels": label}


def _no_encode(row: Row) -> str:
    found = ", ".join(map(str, row))
    if {*TEXTS, *SPOKEN, WORDS} & set(row):
        return f"the rows are raw text (columns {found}) and there is no tokenizer to read them with: pass tokenizer=."
    return (
        f"no known columns: found {found or 'none'}; accepted: {FORMS}. Rename them, or pass a DataLoader of tensors."
    )


def _encode(encode: Encode, chunk: list[Row], start: int) -> list[dict[str, Any]]:
    try:
        encoded = encode(chunk)
    except DataError as error:
        if start == 0:
            raise
        raise DataError(f"counting from row {start}: {error}") from error
    except KeyError as error:
        column = error.args[0] if error.args else None
        lacking = next((number for number, row in enumerate(chunk) if column not in row), None)
        if lacking is None:  # not a column of the rows: a defect of `encode`
            raise
        raise DataError(
            f"row {start + lacking} has no column {column!r}: found {', '.join(map(str, chunk[lacking])) or 'none'}; "
            f"accepted: {FORMS}."
        ) from error
    if len(encoded) != len(chunk):
        raise DataError(f"encode gave {len(encoded)} rows for {len(chunk)}: it must give one for each, in order.")
    return encoded
