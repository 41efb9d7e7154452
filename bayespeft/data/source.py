"""`source_of`: data as it was handed over, resolved once. All that is asked of data later is asked of the `Source`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from bayespeft.data.arrays import arrays_of
from bayespeft.data.class_names import names_in, order_of, renumbered, told
from bayespeft.data.columns import FORMS, TOKENS, Row, without_labels
from bayespeft.data.examples import Examples
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
from bayespeft.errors import DataError

_ACCEPTED = (
    f"rows (a list of dicts or a Hugging Face Dataset) with the columns {FORMS}; a DataLoader; a torch Dataset of "
    "pairs (x, y); a tuple of tensors or arrays (X, Y) or (X,); the name of a data set"
)


@dataclass(frozen=True)
class Source:
    """Data in any accepted form: rows, or examples that are ready. One of the two is None.

    Attributes:
        rows: one mapping of columns for each example, read where it is whenever it is asked for.
        ready: what is no rows: tensors, pairs, the batches of a loader.
        tokenised: the rows hold token numbers.
        class_names: what the data calls its classes; none where it says nothing.
        name: of a named data set.
    """

    rows: RowView | None = None
    ready: Examples | None = None
    tokenised: bool = False
    class_names: tuple[str, ...] = ()
    name: str = ""

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
        """Whether both are the same rows of one data set that was named: for "test", many have none but those of validation."""
        if not self.name or self.name != other.name or self.rows is None or other.rows is None:
            return False
        return len(self.rows) == len(other.rows) and all(a == b for a, b in zip(self.rows, other.rows, strict=True))

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


def source_of(data: Any, split: str = "test") -> Source:
    """Return data in any accepted form as a `Source`.

    Args:
        data: one of
            - rows: an iterable of mappings, a Hugging Face `Dataset`, or a torch `Dataset` of mappings. Raw rows (`text` and
              so on) are still to be tokenised; rows with `input_ids` are tokenised already;
            - a `DataLoader` of dicts of tensors, pairs (x, y) or x: see `LoaderExamples`;
            - a torch `Dataset`, or a list, of pairs (x, y) or x: see `PairExamples`;
            - a tensor X, (N, ...), or a tuple (X,) or (X, Y): see `TensorExamples`; arrays of NumPy, data frames and
              series of pandas are as good as tensors;
            - the name of a data set: see `bayespeft.data.load.load`;
            - a `Source`, which is returned as it is, or `Examples`.
        split: which rows of a named data set; "train" is what is trained on, so that a `DataLoader` may repeat or drop
            examples.

    Raises:
        DataError: the data is of no accepted form, empty, or has a value that can't be used; the message names it.
        UnknownNameError: there is no data set of that name, or no such split.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, Examples):
        return Source(ready=data)
    if isinstance(data, str):
        return replace(source_of(load(data, split)), name=data)
    if isinstance(data, DataLoader):
        return Source(ready=LoaderExamples(data, training=split == "train"), class_names=names_in(data))
    if (arrays := arrays_of(data)) is not None:
        return Source(ready=TensorExamples(*arrays))
    items = _items(data)
    first = items[0]
    if _is_pair(first):
        return Source(ready=PairExamples(items), class_names=names_in(items))
    return Source(rows=RowView(items), tokenised=TOKENS in mapping(first, 0), class_names=names_in(items))


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
    if isinstance(data, bytes):
        raise DataError(f"data is {data!r:.80}: bytes are neither rows nor the name of a data set.")
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
