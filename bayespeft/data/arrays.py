"""Tensors, arrays of NumPy, data frames and series of pandas: (X, Y) in any of these forms, as tensors."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from bayespeft.errors import DataError


def arrays_of(data: Any) -> tuple[Tensor, ...] | None:
    """Return (X,) or (X, Y) as tensors if that is what data is; else None.

    Args:
        data: a tensor or an array X; a `TensorDataset`; a tuple whose first part is a tensor, an array or a data frame.

    Raises:
        DataError: the tuple has more parts, or parts that are no numbers, or frames whose rows are in different orders.
    """
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, (Tensor, np.ndarray)):
        data = (data,)
    if not isinstance(data, tuple) or not data or not _is_array(data[0]) or getattr(data[0], "ndim", 1) == 0:
        return None
    if len(data) == 2 and isinstance(data[1], list):
        data = (data[0], np.array(data[1]))  # labels are as often a list
    if len(data) > 2 or not all(map(_is_array, data)):
        kinds = ", ".join(type(part).__name__ for part in data)
        raise DataError(f"a tuple of {len(data)} ({kinds}) is not (X, Y) or (X,) of tensors or arrays.")
    check_rows_alike("X", data[0], "Y", data[-1])
    return tuple(_tensor(part, name) for part, name in zip(data, ("X", "Y"), strict=False))


def check_rows_alike(name: str, one: Any, other_name: str, other: Any) -> None:
    """Check that two frames or series of pandas, which are read side by side, have their rows in one order.

    Raises:
        DataError: their indices are the same, in different orders. Other indices are taken for what was numbered anew.
    """
    indices = [part.index for part in (one, other) if hasattr(part, "iloc")]
    if len(indices) < 2 or indices[0].equals(indices[1]):
        return
    if Counter(indices[0]) == Counter(indices[1]):
        row = next(i for i, (a, b) in enumerate(zip(*indices, strict=True)) if a != b)
        raise DataError(
            f"{name} and {other_name} have the same index in different orders (row {row} is {indices[0][row]!r} of {name}, and "
            f"{indices[1][row]!r} of {other_name}): bring both into one order, as by {other_name}.loc[{name}.index]."
        )


def _is_array(value: Any) -> bool:
    # Frames and series of pandas are told by what they can do: pandas need not be installed.
    return isinstance(value, (Tensor, np.ndarray)) or (hasattr(value, "iloc") and hasattr(value, "to_numpy"))


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    array = value if isinstance(value, np.ndarray) else value.to_numpy()
    if array.dtype == object:  # columns of several types, or numbers beside missing ones
        try:
            array = array.astype(np.float64) if name == "X" else np.array(array.tolist())
        except (TypeError, ValueError) as error:
            raise DataError(_no_numbers(name, array, error)) from None
    if not array.dtype.isnative:  # a file's order of bytes
        array = array.astype(array.dtype.newbyteorder("="))
    try:
        # A copy where torch can't share the memory: strides that go back, or a frame's own, which is not to be written to.
        shared = np.require(array, requirements=["C", "W"])
        return torch.from_numpy(shared)
    except TypeError as error:
        raise DataError(_no_numbers(name, array, error)) from None


def _no_numbers(name: str, array: Any, error: Exception) -> str:
    remedy = "number the classes 0, 1, ..." if name == "Y" else "leave out, or encode, columns that are no numbers"
    return f"{name} is an array of {array.dtype} that is no tensor of numbers ({error}): {remedy}."
