"""Tensors of each example, kept where there is room: on the network's device, in the host's memory, or in a file."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from bayespeft.utils.memory import free_memory

# What is kept fills no more than this part of what is free at its place.
SHARE = 0.25


class KeptOutputs(ABC):
    """Some tensors for each of some examples."""

    @abstractmethod
    def keep(self, row: int, tensors: Sequence[Tensor]) -> None:
        """Keep copies of an example's tensors.

        Raises:
            OSError: they can't be written.
        """

    @abstractmethod
    def of(self, row: int) -> list[Tensor]:
        """Return the tensors of an example, wherever they are."""


class InMemory(KeptOutputs):
    """In the memory of a device.

    Args:
        device: whose.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._kept: dict[int, list[Tensor]] = {}

    def keep(self, row: int, tensors: Sequence[Tensor]) -> None:
        """Keep copies; as the base."""
        self._kept[row] = [tensor.to(self.device, copy=True) for tensor in tensors]

    def of(self, row: int) -> list[Tensor]:
        """Return the tensors of an example."""
        return self._kept[row]


class OnDisk(KeptOutputs):
    """In a temporary file without a name, which is gone as soon as nobody holds this any more, however that comes about."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="bayespeft-")  # noqa: SIM115
        self._places: dict[int, tuple[int, list[tuple[torch.Size, torch.dtype]]]] = {}

    def keep(self, row: int, tensors: Sequence[Tensor]) -> None:
        """Write an example's tensors behind the others; as the base."""
        place = self._file.seek(0, os.SEEK_END)
        for tensor in tensors:
            self._file.write(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        self._places[row] = place, [(tensor.shape, tensor.dtype) for tensor in tensors]

    def of(self, row: int) -> list[Tensor]:
        """Read the tensors of an example, on the CPU."""
        place, kinds = self._places[row]
        self._file.seek(place)
        return [
            torch.frombuffer(bytearray(self._file.read(math.prod(shape) * dtype.itemsize)), dtype=dtype).reshape(shape)
            for shape, dtype in kinds
        ]

    def __del__(self) -> None:
        self._file.close()


def room_for(size: float, device: torch.device) -> KeptOutputs | None:
    """Return the nearest place with room for so many bytes beside a network on this device; None where there is none."""
    for place in dict.fromkeys((device, torch.device("cpu"))):
        if size < SHARE * free_memory(place):
            return InMemory(place)
    return OnDisk() if size < SHARE * shutil.disk_usage(tempfile.gettempdir()).free else None
