"""Data sets in a folder of JSON lines: one file per split, one row per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bayespeft.errors import DataError, UnknownNameError

_VALIDATION = ("validation", "valid", "val", "dev")


def read_folder(path: str | Path, split: str) -> list[dict[str, Any]]:
    """Return the rows of `<path>/<split>.jsonl`.

    Args:
        path: the folder.
        split: the file's name without `.jsonl`, or another usual name for it: see `resolve_split`.

    Raises:
        DataError: there is no such folder, or it has no `.jsonl` file; a line is no JSON object; the file is empty.
        UnknownNameError: there is no such split; the message lists the splits.
    """
    folder = Path(path)
    splits = folder_splits(folder)
    if not splits:
        raise DataError(f"{str(path)!r} is no folder with files <split>.jsonl, one JSON object per line.")
    file = folder / f"{resolve_split(split, splits, str(path))}.jsonl"
    rows = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append(_row(line, f"{file}, line {number}"))
    if not rows:
        raise DataError(f"{file} is empty: it has no rows.")
    return rows


def folder_splits(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the splits in a folder; none if it does not exist."""
    return tuple(sorted(file.stem for file in folder.glob("*.jsonl"))) if folder.is_dir() else ()


def find_folder(data_dir: str | Path, name: str) -> Path:
    """Return the folder of a data set inside `data_dir`: `<data_dir>/<name>`, or `data_dir` itself if it has splits.

    Raises:
        DataError: neither has files `<split>.jsonl`.
    """
    for folder in (Path(data_dir) / name, Path(data_dir)):
        if folder_splits(folder):
            return folder
    raise DataError(f"{str(data_dir)!r} has neither a folder {name!r} of files <split>.jsonl nor such files itself.")


def resolve_split(split: str, splits: Sequence[str], where: str) -> str:
    """Return the one of `splits` that `split` means.

    A split's own name always means that split. Else "validation", "valid", "val" and "dev" mean the same, and "test"
    means the validation split where that is all there is besides training data, as for GLUE, whose test labels are
    secret. "validation" never means a test split: choosing a model on test data should not happen unnoticed.

    Raises:
        UnknownNameError: none fits, or several do; the message lists the splits.
    """
    if split in splits:
        return split
    if split in _VALIDATION or split == "test":
        meant = [name for name in splits if name in _VALIDATION]
        if len(meant) == 1:
            return meant[0]
    hint = " Hold some of the training rows out, and pass them as rows." if split in _VALIDATION else ""
    raise UnknownNameError(f"{where} has no split {split!r}. Its splits: {', '.join(splits)}.{hint}")


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: no JSON ({error}).") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a JSON object is expected, got {type(row).__name__}.")
    return row
