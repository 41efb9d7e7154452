"""Rows of a file, one at a time, for files that memory does not hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any

from bayespeft.data.files import DELIMITERS, lines_of, table_of
from bayespeft.errors import DataError


class RowStream:
    """A file of JSON lines, or a table, that is read as it goes; a context manager.

    Cells of a table are texts.

    Args:
        path: its ending says what it holds.

    Attributes:
        path: the file.
        columns: the names of the first row.
        size: bytes of the file.

    Raises:
        DataError: there is no such file, it has no rows, or it can't be read so. While reading: a line is broken.
    """

    def __init__(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix not in (".jsonl", *DELIMITERS):
            raise DataError(
                f"'{path}' is none of .jsonl, {', '.join(DELIMITERS)}: rows are read one by one from these."
            )
        if not os.path.isfile(path):
            raise DataError(f"there is no file '{path}' to read rows from.")
        self.path, self.size = path, path.stat().st_size
        self._bytes = path.open("rb")
        self._file = TextIOWrapper(self._bytes, encoding="utf-8-sig", newline="")
        rows = lines_of(self._file, path) if suffix == ".jsonl" else table_of(self._file, path, DELIMITERS[suffix])
        try:
            first = next(rows, None)
            if first is None:
                raise DataError(f"{path} is empty: it has no rows.")
        except DataError:
            self._file.close()
            raise
        self.columns = tuple(first)
        self._rows = chain([first], rows)

    def __enter__(self) -> RowStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._rows

    @property
    def read(self) -> int:
        """Bytes read so far, in steps of the file's buffer."""
        return self._bytes.tell()
