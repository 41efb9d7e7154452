"""Raw rows to rows of token numbers: the columns are checked, then a likelihood tokenises."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from bayespeft.data.columns import FORMS, TOKENS, Row, remedy
from bayespeft.data.row_checks import checked
from bayespeft.data.table import TokenTable
from bayespeft.errors import DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.utils.warned import warn

_CHUNK = 1000  # rows tokenised at a time: enough for the tokenizer's threads, little in memory


def encoded(rows: Sequence[Row], likelihood: Likelihood, tokenizer: Any) -> TokenTable:
    """Tokenise rows. One warning says how many were cut.

    Raises:
        DataError: columns are missing, or there in some rows only; a column has a value that can't be used.
    """
    table, cut, iterator = TokenTable(), _Cut(), checked(rows)
    while chunk := list(islice(iterator, _CHUNK)):
        table.extend(list(map(cut.noted, _chunk(chunk, len(table), likelihood, tokenizer))))
    cut.tell(len(table))
    return table


class _Cut:
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
            warn(
                f"{self._rows} of {rows} texts are longer than the {self._kept} tokens that max_length=, tokenizer or network "
                f"allow, and were cut; the longest has {self._longest} tokens.",
            )


def _chunk(chunk: list[Row], start: int, likelihood: Likelihood, tokenizer: Any) -> list[dict[str, Any]]:
    """Tokenise rows of which the first is number `start` of the data; messages say so."""
    try:
        found = likelihood.encode(chunk, tokenizer)
    except DataError as error:
        if start == 0:
            raise
        raise DataError(f"counting from row {start}: {error}") from error
    except KeyError as error:
        column = str(error.args[0]) if error.args else ""
        lacking = next((number for number, row in enumerate(chunk) if column not in row), None)
        if lacking is None:  # not a column of the rows: a defect of `encode`
            raise
        raise DataError(
            f"row {start + lacking} has no column {column!r}: found {', '.join(map(str, chunk[lacking])) or 'none'}; "
            f"accepted: {FORMS}. {remedy(chunk[lacking], column)}"
        ) from error
    if len(found) != len(chunk):
        raise DataError(f"encode gave {len(found)} rows for {len(chunk)}: it must give one for each, in order.")
    return found
