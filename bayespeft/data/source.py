"""`source_of`: data as it was handed over, resolved once. All that is asked of data later is asked of the `Source`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from bayespeft.data.arrays import arrays_of
from bayespeft.data.class_names import names_in, order_of, renumbered, told
from bayespeft.data.columns import FORMS, KNOWN, TOKENS, Row, without_labels
from bayespeft.data.examples import Examples
from bayespeft.data.folder import resolve_split
from bayespeft.data.layout import Columns, layout_of
from bayespeft.data.load import load
from bayespeft.data.loader import LoaderExamples
from bayespeft.data.padding import NO_TOKEN, Padding
from bayespeft.data.row_checks import mapping, no_tokenizer, token_columns
from bayespeft.data.row_view import RowView
from bayespeft.data.rows import RowExamples
from bayespeft.data.table import TokenTable
from bayespeft.data.takes import ANYTHING, FittingExamples, Takes
from bayespeft.data.tensors import PairExamples, SizedDataset, TensorExamples
from bayespeft.data.unlabelled import UnlabelledExamples
from bayespeft.errors import ConfigError, DataError

_ACCEPTED = (
    f"rows (a list of dicts, a Hugging Face Dataset or a DataFrame) with the columns {FORMS}; a DataLoader; a torch Dataset of "
    "pairs (x, y); a tuple of tensors or arrays (X, Y) or (X,); the name of a data set, or the path of a file of rows"
)


@dataclass(frozen=True)
class Source:
    """Data in any accepted form: rows, or examples that are ready. One of the two is None.

    Attributes:
        rows: one mapping of columns, under our names, for each example; read where it is whenever it is asked for.
        ready: what is no rows: tensors, pairs, the batches of a loader.
        tokenised: the rows hold token numbers.
        class_names: what the data calls its classes; none where it says nothing.
        name: of a named data set, or what a data set with splits is called in messages.
        columns: what the user said of the columns: our name -> the data's.
    """

    rows: RowView | None = None
    ready: Examples | None = None
    tokenised: bool = False
    class_names: tuple[str, ...] = ()
    name: str = ""
    columns: Columns = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of examples."""
        found = self.ready if self.rows is None else self.rows
        assert found is not None
        return len(found)

    @property
    def raw_rows(self) -> Sequence[Row] | None:
        """The rows if they are still to be tokenised, to look at; None for all other data."""
        return None if self.tokenised else self.rows

    def numbered_as(self, own: Sequence[str]) -> Source:
        """Return this data with labels that number the classes as a network does.

        Args:
            own: the network's names of its classes, in order; none where it has none.

        Raises:
            DataError: a class has a name that the network does not know, or a loader numbers the classes in another order.
        """
        order = order_of(self.class_names, own) if self.class_names and own else None
        if order is None:
            return self
        if self.rows is None:
            raise DataError(
                f"the loader's data set numbers its classes {told(self.class_names)}, and the network {told(own)}: pass the "
                "data set itself, or align it first with data.align_labels_with_mapping(model.config.label2id, 'label')."
            )
        return replace(self, rows=self.rows.changed(partial(renumbered, order=order)), class_names=tuple(own))

    def same_split(self, other: Source) -> bool:
        """Whether both are the same rows, of data sets with splits: for "test", many have none but those of validation.

        One data set may go by several names: paths can be spelled in many ways.
        """
        if not self.name or not other.name or self.rows is None or other.rows is None:
            return False
        return len(self.rows) == len(other.rows) and all(a == b for a, b in zip(self.rows, other.rows, strict=True))

    def with_rows(self, rows: Sequence[Row]) -> Source:
        """Return some of this data's rows, in the place of all."""
        return replace(self, rows=RowView(rows))

    def without_labels(self) -> Source:
        """Return this data without its labels, which may be missing, or of classes that the network lacks."""
        return replace(
            self,
            rows=None if self.rows is None else self.rows.changed(without_labels),
            ready=None if self.ready is None else UnlabelledExamples(self.ready),
            class_names=(),
        )

    def examples(self, padding: Padding = NO_TOKEN, takes: Takes = ANYTHING) -> Examples:
        """Return data that is still to be read by nobody but the network: ready examples, and rows of tokens.

        Args:
            padding: how token sequences are brought to one length in a batch.
            takes: what the network takes, as far as it is known.

        Raises:
            DataError: the rows are raw, or have a value that can't be used; the message names it.
        """
        if self.rows is None:
            assert self.ready is not None
            found = self.ready
        elif not self.tokenised:
            raise no_tokenizer(self.rows[0])
        else:
            found = RowExamples(TokenTable(token_columns(self.rows, takes)), padding)
        return found if takes is ANYTHING or isinstance(found, FittingExamples) else FittingExamples(found, takes)


def source_of(
    data: Any, split: str = "test", columns: Columns | None = None, remembered: Columns | None = None
) -> Source:
    """Return data in any accepted form as a `Source`.

    Args:
        data: one of
            - rows: an iterable of mappings, a Hugging Face `Dataset`, a torch `Dataset` of mappings, a data frame of
              pandas or Polars, or a table of Arrow. A stream is read whole, and only to predict. Raw rows (`text` and so on)
              are still to be tokenised; rows with `input_ids` are tokenised already;
            - a `DatasetDict`, which means one of its splits;
            - a `DataLoader` of dicts of tensors, pairs (x, y) or x: see `LoaderExamples`;
            - a torch `Dataset`, or a list, of pairs (x, y) or x: see `PairExamples`;
            - a tensor X, (N, ...), or a tuple (X,) or (X, Y): see `TensorExamples`; arrays of NumPy, data frames and
              series of pandas are as good as tensors;
            - the name of a data set, or the path of a file of rows: see `bayespeft.data.load.load`;
            - a `Source`, which is returned as it is, or `Examples`.
        split: which rows of a named data set; "train" is what is trained on, so that a `DataLoader` may repeat or drop
            examples.
        columns: our name of a column -> the data's. See `bayespeft.data.layout` for what is understood without.
        remembered: what was said of other data of the same kind: holds for the columns that are there.

    Raises:
        DataError: the data is of no accepted form, empty, or has a value that can't be used; the message names it.
        ConfigError: `columns` has a name that is none of ours, or is given for data without columns.
        UnknownNameError: there is no data set of that name, or no such split.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, Examples):
        return Source(ready=data)
    said = {**(remembered or {}), **(columns or {})}
    name = os.fspath(data) if isinstance(data, (str, os.PathLike)) else ""
    if name:
        data = load(name, split, columns=said)
    if _is_splits(data):
        data, name = data[resolve_split(split, tuple(data), "the DatasetDict")], name or "DatasetDict"
    items, ready = _opened(data, training=split == "train")
    if ready is not None:
        if columns:
            raise ConfigError(
                f"columns= names columns of rows, and data is a {type(data).__name__}, which has none: leave columns= out."
            )
        return Source(ready=ready, class_names=names_in(items), columns=said)
    first = mapping(items[0], 0)
    layout = layout_of(first, columns or {}, remembered or {}, labelled=split == "train")
    rows = RowView(items, [layout.read])
    read = rows[0]
    if _is_frame(data) and not any(name in KNOWN or isinstance(value, str) for name, value in read.items()):
        raise DataError(
            f"data is a DataFrame of numbers ({', '.join(map(str, first))}): pass a pair (X, y) of its columns, or say which "
            "column is which, as in columns={'text': ..., 'label': ...}."
        )
    return Source(
        rows=rows, tokenised=TOKENS in read, class_names=names_in(items, layout.label), name=name, columns=said
    )


def _opened(data: Any, training: bool) -> tuple[Any, Examples | None]:
    """Return data, of which there is at least one item, and its examples if they are no rows."""
    if isinstance(data, DataLoader):
        return data, LoaderExamples(data, training)
    if (arrays := arrays_of(data)) is not None:
        return data, TensorExamples(*arrays)
    items = _items(data, training)
    return items, PairExamples(items) if _is_pair(items[0]) else None


def _is_splits(data: object) -> bool:
    """Whether data is a `DatasetDict`, or a dict like it."""
    return isinstance(data, Mapping) and bool(data) and all(hasattr(part, "column_names") for part in data.values())


def _is_frame(data: object) -> bool:
    # Frames of pandas are told by what they can do: pandas need not be installed.
    return hasattr(data, "to_dict") and hasattr(data, "iloc")


def _items(data: Any, training: bool) -> SizedDataset:
    """Return the items of a data set that is neither tensors nor a loader: rows or pairs, at least one."""
    _refuse(data, training)
    if getattr(data, "ndim", None) == 0:
        raise DataError(f"data is one number, of type {type(data).__name__}. Accepted: {_ACCEPTED}.")
    if _is_frame(data):
        twice = [str(name) for name in data.columns[data.columns.duplicated()]]
        if twice:
            raise DataError(f"the DataFrame has several columns {twice[0]!r}: give each column a name of its own.")
        items: SizedDataset = data.to_dict("records")
    elif (listed := getattr(data, "to_pylist", None) or getattr(data, "to_dicts", None)) is not None:
        items = listed()  # tables of Arrow, frames of Polars
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, IterableDataset):
        items = data
    elif isinstance(data, Iterable):
        items = list(data)
    else:
        raise DataError(f"data of type {type(data).__name__} can't be read. Accepted: {_ACCEPTED}.")
    if len(items) == 0:
        raise DataError(f"the data is empty: a {type(data).__name__} without examples.")
    return items


def _refuse(data: object, training: bool) -> None:
    """Raise for what looks like data but is not: each with its remedy."""
    if isinstance(data, Mapping):
        raise DataError(
            f"one mapping (keys {', '.join(map(repr, data)) or 'none'}) is no list of rows. Pass one mapping per "
            "example, or datasets.Dataset.from_dict(data)."
        )
    if isinstance(data, bytes):
        raise DataError(f"data is {data!r:.80}: bytes are neither rows nor the name of a data set.")
    stream = isinstance(data, IterableDataset) or (hasattr(data, "column_names") and not hasattr(data, "__len__"))
    if stream and training:
        raise DataError(
            "data is a stream without a length, so the number of examples, which weighs data against prior, is "
            "unknown. Pass a list of its rows, such as list(data.take(1000))."
        )


def _is_pair(item: object) -> bool:
    """Whether an item is (x, y), (x,) or x of numbers, rather than a row."""
    if isinstance(item, (Mapping, str)):
        return False
    return isinstance(item, (tuple, list)) or hasattr(item, "ndim")
