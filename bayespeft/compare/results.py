"""The file of results: a run a line, JSON, appended whole. Any number of processes may write to it, and be killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock

from bayespeft.compare.scores import decode
from bayespeft.compare.study import Run, key
from bayespeft.compare.tuning import Tuned
from bayespeft.errors import DataError
from bayespeft.report.calibration import CalibrationReport
from bayespeft.training.history import History
from bayespeft.utils.files import digest, told

FORMAT = 4
NAME = "results.jsonl"


@dataclass(frozen=True)
class Results:
    """The finished runs in a folder.

    A line is written under a lock, in one piece, with a digest of what it says, and is on the disk before `append` returns. A
    process that is killed in the middle leaves a torn line at the end: it is not read, and the next `append` cuts it off.

    Attributes:
        folder: that holds `results.jsonl`.
    """

    folder: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / NAME

    def read(self) -> dict[str, Run]:
        """Return key -> run; of those with one key the last.

        Raises:
            DataError: a file is not what it should be; the message names the line.
        """
        return {key(run): run for run in self._lines()}

    def append(self, run: Run) -> None:
        """Add a run.

        Raises:
            FileError: the file can't be written to, or only a part of the run.
        """
        with told(self.path), self._lock():
            self._write(run)

    def add(self, runs: Iterable[Run], again: bool = False) -> None:
        """Append those runs that the folder does not hold.

        Args:
            runs: what to add.
            again: append those too of which it holds another result. Otherwise that stays: it may be newer.

        Raises:
            DataError: see `read`. FileError: see `append`.
        """
        with told(self.path), self._lock():
            known = self.read()
            for run in runs:
                if key(run) not in known or (again and known[key(run)]["report"] != run["report"]):
                    self._write(run)

    def _lock(self) -> BaseFileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / f".{NAME}.lock")

    def _write(self, run: Run) -> None:
        """Append a run; the lock is held."""
        run = json.loads(json.dumps(run, allow_nan=False))  # as it will be read
        line = json.dumps({**run, "sha256": _digest(run)}, ensure_ascii=False).encode() + b"\n"
        with open(self.path, "a+b", buffering=0) as file:
            file.truncate(_whole(file))
            if file.write(line) != len(line):
                raise OSError("there was room for only a part of a run")
            os.fsync(file.fileno())

    def _lines(self) -> list[Run]:
        if not self.path.is_file():
            return []
        *lines, _torn = self.path.read_bytes().split(b"\n")
        return [_checked(line, f"{self.path}, line {number}") for number, line in enumerate(lines, 1)]


def _whole(file: Any) -> int:
    """Return where the last whole line of a file ends."""
    end: int = file.seek(0, os.SEEK_END)
    while end:
        start = max(end - 65536, 0)
        file.seek(start)
        found: int = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _checked(line: bytes, where: str) -> Run:
    try:
        run = json.loads(line)
        if run["format"] != FORMAT:
            raise DataError(f"format {run['format']!r} is of another version of bayespeft, this one writes {FORMAT}")
        if run.pop("sha256", None) != _digest(run):
            raise DataError("the line is not what was written")
        decode(run["scores"])
        return _check(run)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # a DataError is a ValueError
        raise _bad(where, error) from error


def _digest(run: Run) -> str:
    return digest(json.dumps(run, sort_keys=True).encode())


def _check(run: Run) -> Run:
    key(run)
    CalibrationReport.from_dict(run["report"])
    History.from_dict(run["history"])
    if run.get("tuned"):
        Tuned.from_dict(run["tuned"])
    return run


def _bad(where: str, error: Exception) -> DataError:
    told = error if isinstance(error, DataError) else repr(error)
    return DataError(f"{where} is no file of results ({told}): move it away, or choose another folder.")
