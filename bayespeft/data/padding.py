"""Sequences of different lengths: how they are kept (flat, without padding) and how they are padded, batch by batch."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from bayespeft.data.checks import check_finite, number_tensor
from bayespeft.errors import ConfigError, DataError


@dataclass(frozen=True)
class Padding:
    """How token sequences of a batch are brought to one length.

    Attributes:
        token_id: what `input_ids` are padded with; None if the tokenizer has no padding token.
        side: where the padding goes. `attention_mask` is 0 there.
        labels: labels are token sequences that may have lengths of their own; those are padded with -100 on the right.
    """

    token_id: int | None = None
    side: Literal["right", "left"] = "right"
    labels: bool = False

    def __post_init__(self) -> None:
        if self.side not in ("right", "left"):
            raise ConfigError(f"padding side is {self.side!r}, expected 'right' or 'left'.")


NO_TOKEN = Padding()


class Ragged:
    """N sequences of integers in one flat buffer of 4-byte integers: no padding and no object per number.

    Attributes:
        name: the column's name, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._values = array("i")
        self._ends = array("q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, sequence: Iterable[int]) -> None:
        """Add one sequence; `DataError` names the row if it is empty or has anything but integers."""
        row = len(self)
        try:
            self._values.extend(_plain(sequence))
        except (TypeError, OverflowError) as error:
            raise DataError(
                f"column {self.name!r} of row {row} is no flat list of integers: {error}. Expected one list of "
                "token numbers per row (tokenise without return_tensors)."
            ) from None
        if len(self._values) == self._ends[-1]:
            raise DataError(
                f"column {self.name!r} of row {row} is empty: no token to read. Leave the row out, or let the "
                "tokenizer add its special tokens."
            )
        self._ends.append(len(self._values))

    def lengths(self) -> Tensor:
        """(N,) int64, number of integers in each sequence."""
        return self.flat()[1].diff()

    def all_ones(self) -> bool:
        """Whether every number is 1, as in the attention mask of sequences without padding."""
        return bool((self.flat()[0] == 1).all())

    def flat(self) -> tuple[Tensor, Tensor]:
        """Return all numbers one after another, int32, and (N + 1,) int64 where each sequence ends."""
        return torch.frombuffer(self._values, dtype=torch.int32), torch.frombuffer(self._ends, dtype=torch.int64)

    def padded(self, index: Tensor, fill: int, side: str = "right") -> Tensor:
        """Return some sequences, padded to the longest of them.

        Args:
            index: (n,) int64, which sequences.
            fill: the number to pad with.
            side: "right" or "left".

        Returns:
            (n, longest) int64.
        """
        values, ends = self.flat()
        start, length = ends[index], ends[index + 1] - ends[index]
        width = int(length.max())
        column = torch.arange(width).expand(len(index), width)
        if side == "left":
            column = column - (width - length)[:, None]
        inside = (column >= 0) & (column < length[:, None])
        return torch.where(inside, values[(start[:, None] + column).masked_fill(~inside, 0)].long(), fill)


class Arrays:
    """N arrays of one shape, or with one row for each token of a sequence; integers as int64, fractions as float32.

    Attributes:
        name: the column's name, for messages.
        uniform: all have one shape.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.uniform = True
        self._values: list[Tensor] = []

    def append(self, value: Any) -> None:
        """Add one array; `DataError` names the row if it is none, not finite, or of a shape that goes with no other row's."""
        row = len(self._values)
        found = number_tensor(value, row, self.name)
        check_finite(found[None], f"column {self.name!r}", torch.tensor([row]))
        if self._values and found.shape != self._values[0].shape:
            self.uniform = False
            if found.shape[1:] != self._values[0].shape[1:] or not found.dim():
                raise DataError(
                    f"column {self.name!r} has the shape {tuple(found.shape)} in row {row} and "
                    f"{tuple(self._values[0].shape)} in row 0: one shape, or one row for each token, is needed."
                )
        self._values.append(found)

    def lengths(self) -> Tensor:
        """(N,) int64, rows of each array."""
        return torch.tensor([len(value) for value in self._values])

    def flat(self) -> Iterator[Tensor]:
        """Yield all arrays."""
        return iter(self._values)

    def padded(self, index: Tensor, fill: int, side: str = "right") -> Tensor:
        """Return some arrays, (n, ...), padded with rows of `fill` to as many as the longest has; arguments as `Ragged`."""
        values = [self._values[i] for i in index.tolist()]
        longest = max(len(value) for value in values)
        batch: Tensor = values[0].new_full((len(values), longest, *values[0].shape[1:]), fill)
        for line, value in zip(batch, values, strict=True):
            line[longest - len(value) if side == "left" else 0 :][: len(value)] = value
        return batch


def _plain(sequence: Iterable[int]) -> Iterable[int]:
    tolist = getattr(sequence, "tolist", None)  # tensors, arrays: much faster than number by number
    return tolist() if callable(tolist) else sequence
