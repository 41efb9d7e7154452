"""Rows of token numbers as `Examples`: kept flat, padded batch by batch, read with similar lengths together."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.checks import check_batch_size, label_tensor, label_values
from bayespeft.data.columns import MASK, TOKENISED, TOKENS
from bayespeft.data.digest import Digest
from bayespeft.data.examples import Examples
from bayespeft.data.order import batch_indices
from bayespeft.data.padding import NO_TOKEN, Arrays, Padding, Ragged
from bayespeft.data.subset import Subset
from bayespeft.data.table import TokenTable, is_sequence
from bayespeft.errors import DataError
from bayespeft.networks.tokens import IGNORED
from bayespeft.utils.warned import warn

_PROBED = 64  # tokens of a row that is long enough to show what padding does


class RowExamples(Examples):
    """Token sequences of different lengths.

    Every batch has `input_ids` and `attention_mask`, (n, longest) int64, and the other columns of the rows.

    Args:
        table: the rows.
        padding: how sequences are brought to one length.

    Raises:
        DataError: no rows; columns missing or of different lengths; labels that are no numbers.
    """

    def __init__(self, table: TokenTable, padding: Padding = NO_TOKEN) -> None:
        self.padding = padding
        self._columns, labels = table.columns(), table.labels
        self._tokens = self._ragged(TOKENS)
        self._lengths = self._tokens.lengths()
        self._uniform = bool((self._lengths == self._lengths[0]).all())
        for name, column in self._columns.items():
            if name in TOKENISED[1:] or (isinstance(column, Arrays) and not column.uniform):
                self._check_lengths(name)
        if MASK not in self._columns:
            self._warn_of_padding()
        elif self._ragged(MASK).all_ones():
            del self._columns[MASK]  # as good as none
        self._labels = None if labels is None else _labels(labels, self._lengths, padding.labels)
        # Labels of a decoder, which have lengths of their own, begin where it begins.
        self._beside = isinstance(self._labels, Ragged) and torch.equal(self._labels.lengths(), self._lengths)

    def _warn_of_padding(self) -> None:
        """Warn where rows without a mask begin or end with several padding tokens, which would be read like others."""
        token, (values, ends) = self.padding.token_id, self._tokens.flat()
        long = torch.nonzero(self._lengths > 1).flatten()
        at_begin, at_end = (
            torch.eq(values[first], token or 0) & torch.eq(values[first + 1], token or 0)
            for first in (ends[:-1][long], ends[1:][long] - 2)
        )
        rows = long[at_begin | at_end] if token is not None else long[:0]
        if len(rows):
            warn(
                f"row {int(rows[0])} is padded with the token {token} ({len(rows)} of {len(self)} rows are), and there is no "
                "column 'attention_mask', so that the network reads the padding like words: keep that column, or leave the "
                "padding out.",
            )

    def __len__(self) -> int:
        return len(self._tokens)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """Read every example once, padded per batch: see `Examples.batches`."""
        check_batch_size(batch_size)
        if self.padding.token_id is None and batch_size > 1 and not self._uniform:
            raise DataError(
                "sequences of different lengths can't be put into one batch: the tokenizer has no padding token. Set "
                "tokenizer.pad_token = tokenizer.eos_token (attention_mask hides the padding), or use batch_size 1."
            )
        lengths = None if self._uniform else self._lengths
        return map(self._batch, batch_indices(len(self), batch_size, lengths, shuffle))

    def labels(self) -> Tensor | None:
        """Return all labels: (N,), (N, K), or (N, longest) with -100 as padding if tokens have labels."""
        return self._label_batch(torch.arange(len(self)))

    def digest(self) -> str:
        """Return a hash of all inputs and labels: no batch is padded for it."""
        digest = Digest()
        for name, column in sorted({**self._columns, "labels": self._labels}.items()):
            for part in () if column is None else (column,) if isinstance(column, Tensor) else column.flat():
                digest.add(name, part)
        return digest.text()

    def subset(self, index: Tensor) -> Subset:
        """Return the examples at positions (n,), tokenised as they are."""
        return Subset(self._batch, index, None if self._uniform else self._lengths, self.labels())

    @property
    def side(self) -> Literal["left", "right"]:
        """Where rows are padded."""
        return self.padding.side

    def sides(self) -> Iterator[RowExamples]:
        """Yield these rows padded on the other side."""
        other = copy.copy(self)
        other.padding = replace(self.padding, side="left" if self.side == "right" else "right")
        yield other

    def uneven(self) -> Batch | None:
        """Return the shortest row beside one that is longer, but not by much; None where none is, or none can be padded."""
        if self._uniform or self.padding.token_id is None:
            return None
        shortest = int(self._lengths.argmin())
        longer = self._lengths.masked_fill(self._lengths == self._lengths[shortest], torch.iinfo(torch.int64).max)
        near = (self._lengths <= max(_PROBED, int(longer.min()))) & (self._lengths > self._lengths[shortest])
        other = int(torch.where(near, self._lengths, 0).argmax())
        return self._batch(torch.tensor([shortest, other]))

    def has(self, name: str) -> bool:
        """Whether there is such a column of sequences."""
        return isinstance(self._columns.get(name), Ragged)

    def flat(self, name: str) -> tuple[Tensor, Tensor]:
        """Return all numbers of a column of sequences one after another, and (N + 1,) where each sequence ends."""
        return self._ragged(name).flat()

    def _batch(self, index: Tensor) -> Batch:
        side = self.padding.side
        inputs: dict[str, Tensor] = {}
        for name, column in self._columns.items():
            fill = (self.padding.token_id or 0) if name == TOKENS else 0
            inputs[name] = column[index] if isinstance(column, Tensor) else column.padded(index, fill, side)
        if MASK not in inputs:
            position = torch.arange(inputs[TOKENS].shape[1])
            mask = (position < self._lengths[index, None]).long()
            inputs[MASK] = mask.flip(1) if side == "left" else mask
        return Batch(inputs, self._label_batch(index), index)

    def _label_batch(self, index: Tensor) -> Tensor | None:
        if isinstance(self._labels, Ragged):
            return self._labels.padded(index, IGNORED, self.padding.side if self._beside else "right")
        return None if self._labels is None else self._labels[index]

    def _ragged(self, name: str) -> Ragged:
        column = self._columns.get(name)
        if not isinstance(column, Ragged):
            raise DataError(f"column {name!r} is missing or no sequence; found: {', '.join(self._columns) or 'none'}.")
        return column

    def _check_lengths(self, name: str) -> None:
        column = self._columns[name]
        lengths = column.lengths() if isinstance(column, Arrays) else self._ragged(name).lengths()
        if not torch.equal(lengths, self._lengths):
            row = int((lengths != self._lengths).nonzero()[0, 0])
            raise DataError(
                f"row {row} has {int(lengths[row])} numbers in column {name!r} and {int(self._lengths[row])} in "
                "'input_ids': they must be as many."
            )


def _labels(values: list[Any], lengths: Tensor, tokens: bool) -> Tensor | Ragged:
    """One number per row as a tensor; one per token, or any number where `tokens`, as sequences; equally many as a matrix."""
    if not any(map(is_sequence, values)):
        return label_values(values, "labels")
    wrong = next((row for row, value in enumerate(values) if not is_sequence(value)), None)
    if wrong is not None:
        raise DataError(f"column 'labels' of row {wrong} is one number, but other rows have several.")
    # Tokens have class indices; as many fractions as tokens are several targets, and a coincidence.
    if (tokens or [len(value) for value in values] == lengths.tolist()) and not _has_floats(values):
        labels = Ragged("labels")
        for value in values:
            labels.append(value)
        return labels
    wrong = next((row for row, value in enumerate(values) if len(value) != len(values[0])), None)
    if wrong is not None:
        raise DataError(
            f"column 'labels' of row {wrong} has {len(values[wrong])} numbers: neither one per token "
            f"({int(lengths[wrong])}) nor as many as row 0 ({len(values[0])}). Where a row lists the labels that are on, pass "
            "likelihood='multi_label'."
        )
    try:
        return label_tensor(torch.stack([torch.as_tensor(value) for value in values]))
    except (TypeError, ValueError) as error:
        raise DataError(f"column 'labels' has lists that are no numbers: {error}.") from None


def _has_floats(values: list[Any]) -> bool:
    return any(isinstance(part.item() if hasattr(part, "item") else part, float) for value in values for part in value)
