"""Rows of token numbers, kept column by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from bayespeft.data.checks import label_values
from bayespeft.data.columns import TOKENISED
from bayespeft.data.padding import Arrays, Ragged
from bayespeft.errors import DataError


class TokenTable:
    """The columns of rows that are tokenised. Rows are taken in one after the other, so that never all lie in memory twice.

    Args:
        rows: one dict per example: `input_ids` and optionally `attention_mask` and `token_type_ids`, sequences of
            integers of one length; `labels`, a number, or a number per token; other columns: integers, sequences of
            integers, or arrays, which have one shape in all rows, or one row for each token. All rows have the same
            columns. Read once.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._rows = 0
        self._names: set[str] = set()
        self._sequences: dict[str, Ragged | Arrays] = {}
        self._numbers: dict[str, list[Any]] = {}
        self.extend(rows)

    def __len__(self) -> int:
        return self._rows

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take rows in.

        Raises:
            DataError: a row has other columns than the first, or a sequence that is none.
        """
        for row in rows:
            if not self._rows:
                self._begin(row)
            if set(row) != self._names:
                odd = ", ".join(sorted(self._names ^ set(row)))
                raise DataError(
                    f"row {self._rows} and row 0 differ in the columns they have: {odd}. All rows must have the same."
                )
            for name, sequence in self._sequences.items():
                sequence.append(row[name])
            for name, column in self._numbers.items():
                column.append(row[name])
            self._rows += 1

    def _begin(self, row: Mapping[str, Any]) -> None:
        self._names = set(row)
        found = [name for name in row if name != "labels" and is_sequence(row[name])]
        self._sequences = {name: Arrays(name) if _is_array(name, row[name]) else Ragged(name) for name in found}
        self._numbers = {name: [] for name in row if name not in self._sequences}

    def columns(self) -> dict[str, Ragged | Arrays | Tensor]:
        """Return the columns but for the labels: sequences, arrays, and (N,) numbers.

        Raises:
            DataError: there are no rows; something is no number.
        """
        if not self._rows:
            raise DataError("the data is empty: it has no rows.")
        numbers = {name: label_values(column, name) for name, column in self._numbers.items() if name != "labels"}
        return {**self._sequences, **numbers}

    @property
    def labels(self) -> list[Any] | None:
        """The labels as they came; None where there are none."""
        return self._numbers.get("labels")


def is_sequence(value: object) -> bool:
    """Whether a value is a sequence, and no text."""
    return hasattr(value, "__len__") and getattr(value, "ndim", 1) > 0 and not isinstance(value, (str, bytes))


def _is_array(name: str, value: Any) -> bool:
    """Whether a column that is no sequence of tokens holds arrays of several axes, or of fractions."""
    if name in TOKENISED or not len(value):
        return False
    dtype = getattr(value, "dtype", None)
    return is_sequence(value[0]) or isinstance(value[0], float) or getattr(dtype, "is_floating_point", False)
