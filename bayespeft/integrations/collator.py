"""The collator of a trainer: rows of tensors as the trainer collates them, raw rows as `fit` reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bayespeft.data.batch import Batch
from bayespeft.data.columns import CHOICES, CONVERSATIONAL, LABELS, MEDIA, PROCESSED, TEXTS, TOKENISED, WORDS
from bayespeft.data.layout import Columns, layout_of
from bayespeft.fitting.reader import Read

_RAW = frozenset((*TEXTS, *CONVERSATIONAL, CHOICES, WORDS, *MEDIA))
_TOKENISED = frozenset((*TOKENISED, *PROCESSED))


class Collator:
    """Collates what a data set gives into what the network takes.

    Args:
        usual: the trainer's, for rows that need no reading.
        takes: the names of the network's inputs; None where it does not say.
        columns: our names of columns -> the data's.

    Attributes:
        read: turns raw rows into a batch. It is there once the network has adapters; till then raw rows stay as they are.
    """

    def __init__(self, usual: Callable[[list[Any]], Any], takes: frozenset[str] | None, columns: Columns) -> None:
        self.usual, self._takes, self._columns = usual, takes, columns
        self.read: Callable[[Sequence[Any]], Batch] | None = None

    def raw(self, row: object) -> bool:
        """Whether a row is still to be read: it has nothing that the network takes.

        Raises:
            DataError: it can't be told which column is which.
        """
        if not isinstance(row, Mapping) or not _TOKENISED.union(self._takes or ()).isdisjoint(row):
            return False
        names = layout_of(row, {}, self._columns, labelled=False).names
        return self._takes is not None or not _RAW.isdisjoint({*row, *names})

    def __call__(self, rows: list[Any]) -> Any:
        """Return a batch: a dict of tensors with `labels` where the rows have them."""
        if not self.raw(rows[0]):
            batch = self.usual(rows)
            label = self._columns.get(LABELS[0])
            if label in batch:
                batch[LABELS[1]] = batch.pop(label)
            return batch
        if self.read is None:
            return rows
        found = self.read(rows)
        assert isinstance(found.inputs, Mapping)
        return Read({**found.inputs, **({} if found.labels is None else {LABELS[1]: found.labels})})

    def with_usual(self, usual: Callable[[list[Any]], Any]) -> Collator:
        """Return one that collates rows which need no reading in another way."""
        found = Collator(usual, self._takes, self._columns)
        found.read = self.read
        return found
