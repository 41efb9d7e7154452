"""Checks of values, shared by all forms of data. Each error names the example and says what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bayespeft.errors import DataError
from bayespeft.utils.described import layout_of
from bayespeft.utils.warned import warn

# How many numbers are checked at a time, so that checking a large (or memory-mapped) tensor needs no second copy of it.
_CHUNK = 1 << 22
# By what part of their standard deviation labels may move when they are rounded.
LOST = 0.01
# Values differ where their standard deviation is more than such a part of the largest: less is rounding of double precision.
ALIKE = 1e-13


def check_batch_size(batch_size: int) -> None:
    """Raise `DataError` unless a batch has at least one example."""
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}, but a batch needs at least 1 example.")


def check_layout(values: Tensor, what: str) -> None:
    """Raise `DataError` unless a tensor has its numbers side by side: not sparse, not nested."""
    if values.layout != torch.strided or values.is_nested:
        raise DataError(
            f"{what} is a {layout_of(values)} tensor; rows are read from plain ones: make it dense (to_dense(), padding)."
        )


def check_finite(values: Tensor, what: str, index: Tensor | None = None) -> None:
    """Raise `DataError` if a floating-point tensor (n, ...) has NaN or infinite numbers, or any is no plain one.

    Args:
        values: any dtype; integers always pass.
        what: the name of the tensor in the message.
        index: (n,) positions of the examples in the data; None if `values` holds the data from position 0 on.
    """
    check_layout(values, what)
    if not (values.is_floating_point() or values.is_complex()):
        return
    rows = max(1, _CHUNK // max(1, math.prod(values.shape[1:])))
    for start in range(0, len(values), rows):
        finite = torch.isfinite(values[start : start + rows])
        if not bool(finite.all()):
            row = start + int((~finite).reshape(len(finite), -1).any(1).nonzero()[0, 0])
            example = row if index is None else int(index[row])
            raise DataError(
                f"{what} of example {example}: NaN or infinite. Repair the value, or leave the example out of the data."
            )


def label_tensor(labels: Tensor, index: Tensor | None = None) -> Tensor:
    """Return labels (n, ...) as int64 (from integers, booleans) or as finite float32 (from floats).

    Args:
        labels: as the data has them; a tensor that is right already is returned itself, without a copy.
        index: positions of the examples in the data, for messages; None if they start at 0.

    Raises:
        DataError: complex or sparse labels, NaN or infinity.
    """
    check_layout(labels, "the label")
    if labels.is_complex():
        raise DataError(f"labels have dtype {labels.dtype}; integers (classes) or floats (regression) are expected.")
    if labels.is_floating_point():
        check_finite(labels, "the label", index)
        return as_float32(labels, "labels") if index is None else labels.to(torch.float32)
    return labels.to(torch.int64)


def label_values(values: Sequence[object], column: str) -> Tensor:
    """Return one label per row, (N,), int64 if all are integers and float32 if some are floats.

    Raises:
        DataError: a label is None, NaN, text, or anything else that is not a number.
    """
    numbers = [_number(value, row, column) for row, value in enumerate(values)]
    if all(isinstance(number, int) for number in numbers):
        return torch.tensor(numbers, dtype=torch.int64)
    return as_float32(torch.tensor(numbers, dtype=torch.float64), f"labels (column {column!r})")


def as_float32(values: Tensor, what: str) -> Tensor:
    """Return all labels of some data (n, ...) in single precision, in which training runs.

    A warning says so where that loses what tells the values of a column from each other, as of seconds since 1970. It is no
    error: of a few rows that happen to be alike nobody can say how much that is.
    """
    found = values.to(torch.float32)
    if found.dtype == values.dtype or len(values) < 2:
        return found
    exact = values.double()
    lost, spread = (exact - found.double()).abs().amax(0), exact.std(0)
    # One value alone in a column has nothing to be told from.
    off = (lost > LOST * spread) & (spread > ALIKE * exact.abs().amax(0))
    if bool(off.any()):
        warn(
            f"{what} are about {float(exact.mean(0)[off][0]):.6g} and differ by about {float(spread[off][0]):.3g}, which "
            "float32, with its seven digits, can't tell apart: subtract a constant from them, in double precision.",
        )
    return found


def number_tensor(value: object, row: int, column: str) -> Tensor:
    """Return an array as a tensor of its shape: integers as int64, fractions as float32.

    Raises:
        DataError: it is no array of numbers.
    """
    try:
        found = value.detach() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"column {column!r} of row {row} is no array of numbers: {error}.") from None
    return found.to(torch.float32 if found.is_floating_point() else torch.int64)


def check_label_given(value: object, row: int, column: str) -> None:
    """Raise `DataError` if a label is None or NaN: an empty cell of a table."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise DataError(
            f"column {column!r} of row {row} is {value!r}: the row has no label. Leave out rows without a label, "
            f"or, for prediction, the whole column {column!r}."
        )


def _number(value: object, row: int, column: str) -> int | float:
    check_label_given(value, row, column)
    item = getattr(value, "item", None)  # numbers of NumPy and torch
    if callable(item) and getattr(value, "ndim", 0) == 0:
        value = item()
        check_label_given(value, row, column)
    if isinstance(value, int):
        if abs(value) >= 2**63:
            raise DataError(f"column {column!r} of row {row} is {value:.3g}: a label is an integer of at most 64 bits.")
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise DataError(
        f"column {column!r} of row {row} is {value!r} ({type(value).__name__}): a label is an integer from 0 (a "
        "class), or a finite float (regression). Map other labels to such numbers first."
    )
