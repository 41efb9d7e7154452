"""Rows of one file: JSON lines, a table with commas or tabs between its cells, or Parquet."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from bayespeft.data.columns import LABELS, TableInteger
from bayespeft.data.layout import ANSWERS
from bayespeft.errors import DataError

SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
# Programs write these where they have no number.
MISSING = frozenset({"", "NA", "N/A", "<NA>", "nan", "NaN", "NAN", "null", "NULL", "None"})
# Plain numbers of ASCII digits; "01" is no number but a name.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LONGEST = 1 << 30  # characters of a cell: the csv module would stop at 128 thousand


def is_file(name: str) -> bool:
    """Whether a name is that of a file of rows."""
    return Path(name).suffix.lower() in SUFFIXES


def read_file(path: str | Path, labels: Collection[str] = (), texts: Collection[str] = ()) -> Any:
    """Return the rows of a file.

    Cells of a table are texts, but for those of columns of labels where all are numbers. Parquet keeps its types, and the
    names of classes and the images that `datasets` wrote into it.

    Args:
        path: its ending says what it holds: one of `SUFFIXES`.
        labels: further columns of labels, besides those that are known.
        texts: columns that hold texts, though their names are those of labels.

    Raises:
        DataError: there is no such file, it can't be read, or it has no rows; the message names the line.
    """
    file = Path(path).expanduser()
    if not os.path.isfile(file):  # unlike `Path.is_file` it takes names that no file can have
        raise DataError(f"there is no file {str(path)!r} to read rows from.")
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        rows = _parquet(file)
    elif suffix == ".jsonl":
        with file.open(encoding="utf-8-sig") as opened:
            rows = list(lines_of(opened, file))
    else:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = _numbered(
                list(table_of(opened, file, DELIMITERS[suffix])), {*LABELS, *ANSWERS, *labels}.difference(texts)
            )
    if len(rows) == 0:
        raise DataError(f"{file} is empty: it has no rows.")
    return rows


def lines_of(file: Iterable[str], path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of JSON lines; errors as `read_file`."""
    try:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _row(line, f"{path}, line {number}")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} can't be read as UTF-8: {error}.") from error


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists in lists without an end
        raise DataError(f"{where}: no JSON that can be read ({error}).") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a JSON object is expected, got {type(row).__name__}.")
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; `ValueError` if a name comes twice, of which Python would keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {max(names, key=names.count)!r} comes twice in one object")
    return found


def table_of(file: Iterable[str], path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, whose cells are texts; errors as `read_file`."""
    before = csv.field_size_limit(_LONGEST)
    try:
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        names = reader.fieldnames or []
        if len(set(names)) < len(names) or "" in names:
            raise DataError(f"{path}: its first line is {', '.join(names)}: each column needs a name of its own there.")
        other = next((mark for mark in "\t;|," if len(names) == 1 and mark in names[0]), None)
        if other is not None:
            raise DataError(
                f"{path}: its first line, {names[0]!r:.80}, has one cell between the {delimiter!r} of its ending and {other!r} "
                f"in it. Save the table with {delimiter!r} between cells, or read it with pandas.read_csv(path, sep={other!r}) "
                "and pass the frame."
            )
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}, line {reader.line_num}: there are not {len(names)} cells, as in the first line."
                )
            # A quote that nobody closed before the end of its line has swallowed the rows after it.
            if delimiter == "\t" and any("\t" in cell and "\n" in cell for cell in row.values()):
                raise DataError(
                    f"{path}, line {reader.line_num}: a cell begins with a quote that ends in another cell or line. Write such "
                    "quotes twice and the cell between quotes, or save the rows as CSV or JSON lines."
                )
            yield dict(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as a table in UTF-8: {error}.") from error
    finally:
        csv.field_size_limit(before)


def _numbered(rows: list[dict[str, Any]], labels: Collection[str]) -> list[dict[str, Any]]:
    """Make numbers of the cells of columns of labels where all are; return the rows."""
    for name in labels:
        if rows and name in rows[0]:
            for row, value in zip(rows, _numbers([row[name] for row in rows]), strict=True):
                row[name] = value
    return rows


def _numbers(cells: list[str]) -> list[Any]:
    """Return cells as numbers where all are, and None where one is empty, or says that there is no number."""
    found: list[Any] = []
    for cell in cells:
        if cell in MISSING:
            found.append(None)
        elif _NUMBER.fullmatch(cell) and math.isfinite(float(cell)):
            found.append(float(cell))
        else:
            return [cell or None for cell in cells]
    if all(number is None for number in found):
        return [cell or None for cell in cells]
    if all(number is None or str(int(number)) == cell for cell, number in zip(cells, found, strict=True)):
        return [None if number is None else TableInteger(number) for number in found]
    return found


def _parquet(file: Path) -> Any:
    import datasets  # slow to import, and needed by few
    import pyarrow.parquet

    try:
        return datasets.Dataset(pyarrow.parquet.read_table(file))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{file} can't be read as Parquet: {type(error).__name__}: {error}") from error
