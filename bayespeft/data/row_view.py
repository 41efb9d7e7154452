"""Rows where they are: in a list, on a disk, or made anew each time. A change is made when a row is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bayespeft.data.columns import Row
from bayespeft.data.row_checks import mapping
from bayespeft.data.tensors import SizedDataset
from bayespeft.errors import DataError


class RowView(Sequence[Row]):
    """A data set of mappings as a sequence.

    Args:
        items: the data set: it has a length and can be indexed.
        changes: are applied to each row that is read, one after the other.
    """

    def __init__(self, items: SizedDataset, changes: Sequence[Callable[[Row], Row]] = ()) -> None:
        self._items, self._changes = items, tuple(changes)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        """Return one row, or the list of a slice."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._changed(self._items[index], index)

    def __iter__(self) -> Iterator[Row]:
        # Many torch data sets never raise IndexError, so that iterating over them directly would not end.
        items: Any = self._items
        direct = isinstance(items, (list, tuple)) or hasattr(items, "column_names")
        every = iter(items) if direct else (items[number] for number in range(len(items)))
        return (self._changed(item, number) for number, item in enumerate(every))

    def changed(self, change: Callable[[Row], Row]) -> RowView:
        """Return these rows with one change more."""
        return RowView(self._items, (*self._changes, change))

    def _changed(self, item: object, number: int) -> Row:
        row = mapping(item, number)
        try:
            for change in self._changes:
                row = change(row)
        except DataError as error:
            raise DataError(f"row {number}: {error}") from None
        return row
