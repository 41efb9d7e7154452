"""`prepare`: data in any accepted form to `Examples`. One place that decides what the data is; nothing else here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from torch.utils.data import DataLoader, IterableDataset

from bayespeft.data.arrays import arrays_of
from bayespeft.data.columns import FORMS, TOKENS, Row
from bayespeft.data.encode import Encode, encoded_rows
from bayespeft.data.examples import Examples
from bayespeft.data.loader import LoaderExamples
from bayespeft.data.padding import NO_TOKEN, Padding
from bayespeft.data.rows import RowExamples
from bayespeft.data.takes import ANYTHING, FittingExamples, Takes
from bayespeft.data.tensors import PairExamples, SizedDataset, TensorExamples
from bayespeft.errors import DataError

__all__ = ["Padding", "prepare", "raw_rows"]

_ACCEPTED = (
    f"rows (a list of dicts or a Hugging Face Dataset) with the columns {FORMS}; a DataLoader; a torch Dataset of "
    "pairs (x, y); a tuple of tensors or arrays (X, Y) or (X,)"
)


def prepare(
    data: Any,
    encode: Encode | None = None,
    *,
    padding: Padding = NO_TOKEN,
    training: bool = False,
    takes: Takes = ANYTHING,
) -> Examples:
    """Turn data in any accepted form into `Examples`.

    Args:
        data: one of
            - rows: an iterable of mappings, a Hugging Face `Dataset`, or a torch `Dataset` of mappings. Raw rows
              (`text` and so on) go through `encode`; rows with `input_ids` are tokenised already. Read once, now;
            - a `DataLoader` of dicts of tensors, pairs (x, y) or x: see `LoaderExamples`;
            - a torch `Dataset`, or a list, of pairs (x, y) or x: see `PairExamples`;
            - a tensor X, (N, ...), or a tuple (X,) or (X, Y): see `TensorExamples`; arrays of NumPy, data frames and
              series of pandas are as good as tensors;
            - `Examples`, which are returned as they are.
        encode: the likelihood's tokenisation of raw rows; None without a tokenizer.
        padding: how token sequences are brought to one length in a batch.
        training: the data is trained on, so that a `DataLoader` may repeat or drop examples.
        takes: what the network takes, as far as it is known.

    Raises:
        DataError: the data is of no accepted form, empty, or has a value that can't be used; the message names it.
    """
    if isinstance(data, Examples):
        return data
    found = _examples(data, encode, padding, training, takes)
    return found if takes is ANYTHING else FittingExamples(found, takes)


def _examples(data: Any, encode: Encode | None, padding: Padding, training: bool, takes: Takes) -> Examples:
    if isinstance(data, DataLoader):
        return LoaderExamples(data, training)
    if (arrays := arrays_of(data)) is not None:
        return TensorExamples(*arrays)
    rows = _items(data)
    if _is_pair(rows[0]):
        return PairExamples(rows)
    return RowExamples(encoded_rows(_iterate(rows), encode, takes.column), padding)


def raw_rows(data: Any) -> Sequence[Row] | None:
    """Return the rows if the data is rows that are still to be tokenised, to look at before `prepare`; else None.

    None, too, for an iterator, which can be read only once.

    Raises:
        DataError: there are no rows, or the data is of no accepted form.
    """
    if isinstance(data, (Examples, DataLoader, Iterator)) or arrays_of(data) is not None:
        return None
    rows = _items(data)
    first = rows[0]
    return cast(Sequence[Row], rows) if isinstance(first, Mapping) and TOKENS not in first else None


def _items(data: Any) -> SizedDataset:
    """Return the items of a data set that is neither tensors nor a loader: rows or pairs, at least one."""
    _refuse(data)
    if getattr(data, "ndim", None) == 0:
        raise DataError(f"data is one number, of type {type(data).__name__}. Accepted: {_ACCEPTED}.")
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        items: SizedDataset = data
    elif isinstance(data, Iterable):
        items = list(data)
    else:
        raise DataError(f"data of type {type(data).__name__} can't be read. Accepted: {_ACCEPTED}.")
    if len(items) == 0:
        raise DataError(f"the data is empty: a {type(data).__name__} without examples.")
    return items


def _refuse(data: object) -> None:
    """Raise for what looks like data but is not: each with its remedy."""
    if isinstance(data, Mapping):
        if data and all(hasattr(part, "column_names") for part in data.values()):
            names = ", ".join(map(repr, data))
            raise DataError(
                f"this is a DatasetDict with the splits {names}: pass one of them, such as data[{next(iter(data))!r}]."
            )
        raise DataError(
            f"one mapping (keys {', '.join(map(repr, data)) or 'none'}) is no list of rows. Pass one mapping per "
            "example, or datasets.Dataset.from_dict(data)."
        )
    if isinstance(data, (str, bytes)):
        raise DataError(f"data is the string {data!r:.80}: read named data sets by bayespeft.data.load.load first.")
    if hasattr(data, "to_dict") and hasattr(data, "iloc"):
        raise DataError(
            "data is a DataFrame: pass its rows, data.to_dict('records'), or a pair (X, y) of its columns of numbers."
        )
    if isinstance(data, IterableDataset) or (hasattr(data, "column_names") and not hasattr(data, "__len__")):
        raise DataError(
            "data is a stream without a length, so the number of examples, which weighs data against prior, is "
            "unknown. Pass a list of its rows, such as list(data.take(1000))."
        )


def _is_pair(item: object) -> bool:
    """Whether an item is (x, y), (x,) or x of numbers, rather than a row."""
    if isinstance(item, (Mapping, str)):
        return False
    return isinstance(item, (tuple, list)) or hasattr(item, "ndim")


def _iterate(rows: Any) -> Iterator[Row]:
    # Many torch data sets never raise IndexError, so that iterating over them directly would not end.
    if isinstance(rows, (list, tuple)) or hasattr(rows, "column_names"):
        return iter(rows)
    return (rows[number] for number in range(len(rows)))
