"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from typing import Any

from bayespeft.data.folder import resolve_split
from bayespeft.errors import DataError


def read_hub(path: str, config: str | None, split: str, **options: Any) -> Any:
    """Return the rows of one split of a data set of the hub, with the columns that it has there.

    Args:
        path: the hub's name, "owner/name".
        config: which configuration of it; None for the only one.
        split: its name, or another usual name for it: see `resolve_split`.
        options: for `datasets.load_dataset`, such as revision, token or cache_dir.

    Raises:
        DataError: the hub can't be reached, or has no such data set.
        UnknownNameError: there is no such split; the message lists the splits.
    """
    import datasets  # slow to import, and needed by few

    try:
        splits = datasets.load_dataset(path, config, **options)
    except (OSError, ValueError) as error:
        what = path if config is None else f"{path} (configuration {config})"
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise DataError(
            f"the data set {what} could not be read from the hub: {reason}. Without a network, keep it in a folder of "
            "files <split>.jsonl and pass data_dir=."
        ) from error
    return splits[resolve_split(split, tuple(splits), path)]
