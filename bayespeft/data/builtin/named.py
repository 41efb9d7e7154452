"""Rows that know what their classes are called, as a data set of the hub does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from bayespeft.data.class_names import names_in, one_naming
from bayespeft.data.columns import Row, label_columns

if TYPE_CHECKING:
    from datasets import Dataset


class NamedRows(list[Row]):
    """A list of rows with `class_names`, which its slices, selections, copies and sums keep.

    Args:
        rows: with a column of class numbers.
        class_names: of the classes 0, 1, ...; none where they have no names.
    """

    class_names: tuple[str, ...] = ()

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

    def to_dataset(self) -> Dataset:
        """Return a Hugging Face `Dataset` of these rows, whose feature of the labels has the names of the classes.

        `Dataset.from_list` takes the rows alone, and what their classes are called is lost.
        """
        from datasets import ClassLabel, Dataset

        found = Dataset.from_list(list(self))
        for label in label_columns(found.features):
            if self.class_names and label in found.features:
                found = found.cast_column(label, ClassLabel(names=list(self.class_names)))
        return found

    def copy(self) -> NamedRows:
        """Return a list of the same rows, named as these are."""
        return self[:]

    def __add__(self, others: Iterable[Row]) -> NamedRows:  # type: ignore[override]
        """Return these rows and others behind them, which are numbered alike.

        Raises:
            DataError: the others call their classes something else.
        """
        return NamedRows([*self, *others], one_naming((self.class_names, names_in(others))))

    def __radd__(self, others: Iterable[Row]) -> NamedRows:
        """Return others and these rows behind them; as `__add__`."""
        return NamedRows([*others, *self], one_naming((names_in(others), self.class_names)))

    def __iadd__(self, others: Iterable[Row]) -> NamedRows:  # type: ignore[override]
        """Append rows that are numbered alike; as `__add__`."""
        self.extend(others)
        return self

    def extend(self, others: Iterable[Row]) -> None:
        """Append rows that are numbered alike; as `__add__`."""
        self.class_names = one_naming((self.class_names, names_in(others)))
        super().extend(others)

    def __mul__(self, times: SupportsIndex) -> NamedRows:
        """Return these rows several times over."""
        return NamedRows(super().__mul__(times), self.class_names)

    __rmul__ = __mul__
