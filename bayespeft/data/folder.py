"""Data sets in a folder: one file per split."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from bayespeft.data.files import SUFFIXES, is_file, read_file
from bayespeft.errors import DataError, UnknownNameError

_OTHERS = f" (or {', '.join(SUFFIXES[1:])})"
_VALIDATION = ("validation", "valid", "val", "dev")


def read_folder(path: str | Path, split: str, labels: Collection[str] = (), texts: Collection[str] = ()) -> Any:
    """Return the rows of `<path>/<split>`, a file of one of the endings in `bayespeft.data.files.SUFFIXES`.

    Args:
        path: the folder.
        split: the file's name without its ending, or another usual name for it: see `resolve_split`.
        labels, texts: further columns of labels, and columns that hold none: see `bayespeft.data.files.read_file`.

    Raises:
        DataError: there is no such folder, or no such file in it; the file can't be read, or two files are of this split.
        UnknownNameError: there is no such split; the message lists the splits.
    """
    folder = Path(path)
    splits = folder_splits(folder)
    if not splits:
        raise DataError(f"{str(path)!r} is no folder with files <split>.jsonl, one JSON object per line{_OTHERS}.")
    name = resolve_split(split, splits, str(path))
    files = [file for file in _files(folder) if file.stem == name]
    if len(files) > 1:
        raise DataError(f"{str(path)!r} has several files of the split {name!r}: {', '.join(f.name for f in files)}.")
    return read_file(files[0], labels, texts)


def folder_splits(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the splits in a folder; none if it does not exist."""
    return tuple(sorted({file.stem for file in _files(folder)}))


def _files(folder: Path) -> list[Path]:
    # `os.path.isdir`, unlike `Path.is_dir`, takes names that no folder can have.
    return sorted(file for file in folder.iterdir() if is_file(file.name)) if os.path.isdir(folder) else []


def find_folder(data_dir: str | Path, name: str) -> Path:
    """Return the folder of a data set inside `data_dir`: `<data_dir>/<name>`, or `data_dir` itself if it has splits.

    Raises:
        DataError: neither has files `<split>.jsonl` or of another known ending.
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
