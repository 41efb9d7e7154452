"""Rows that know what their classes are called, as a data set of the hub does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex, overload

from bayespeft.data.columns import Row


class NamedRows(list[Row]):
    """A list of rows with `class_names`, which its slices and selections keep.

    Args:
        rows: with a column of class numbers.
        class_names: of the classes 0, 1, ...; none where they have no names.
    """

    def __init__(self, rows: Iterable[Row], class_names: Sequence[str] = ()) -> None:
        super().__init__(rows)
        self.class_names = tuple(class_names)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> NamedRows: ...

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or those of a slice, named as these are."""
        found = super().__getitem__(index)
        return NamedRows(found, self.class_names) if isinstance(index, slice) else found

    def select(self, positions: Iterable[int]) -> NamedRows:
        """Return the rows at some positions, in that order."""
        return NamedRows((self[k] for k in positions), self.class_names)
