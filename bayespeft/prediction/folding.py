"""How many draws are folded into the batch axis of one pass."""

from __future__ import annotations

import torch

from bayespeft.errors import ConfigError
from bayespeft.utils.memory import free_memory

# On a CPU, one pass over more rows than this is no faster, and needs more memory; on a GPU the first pass takes no more.
ROWS_PER_PASS = 64
# Activations of more tokens than this leave a CPU's cache between one layer and the next, and a pass takes longer for each.
TOKENS_PER_PASS = 2048
# A pass may fill this part of the free memory; the rest is for the allocator's fragments.
SHARE = 0.7


def fitting(wanted: int, bytes_each: int, free: int) -> int:
    """Return how many draws, or examples, go into `free` bytes, at least 1 and at most all."""
    return max(1, min(wanted, int(SHARE * free / max(bytes_each, 1))))


class Folding:
    """Decides the draws of the next pass.

    A number that the user chose is kept. "auto" on a CPU keeps the rows of a pass about constant, and fewer where they are
    long; on a GPU the first pass is over the longest examples, and what it used decides about the rest.

    Raises:
        ConfigError: `wanted` is neither "auto" nor a whole number of at least 1.
    """

    def __init__(self, wanted: int | str, draws: int, device: torch.device) -> None:
        if wanted != "auto" and (not isinstance(wanted, int) or wanted < 1):
            raise ConfigError(f"draws_per_pass={wanted!r}: 'auto' or a whole number of at least 1.")
        self._wanted: int | str = wanted
        self._draws, self._device = max(draws, 1), device
        self._fitting: int | None = None

    def size(self, batch: int, length: int = 1) -> int:
        """Return the draws of the next pass over `batch` examples of so many tokens."""
        if isinstance(self._wanted, int):
            return min(self._wanted, self._draws)
        most = ROWS_PER_PASS // batch
        if self._device.type == "cpu":
            most = min(most, TOKENS_PER_PASS // (batch * length))
        return self._fitting or max(1, min(self._draws, most))

    def give_up(self) -> bool:
        """Take one draw a pass from now on, since a layer, or the memory, can't have several; whether that changes anything."""
        possible = self._wanted == "auto"
        self._wanted = 1
        return possible

    def learn(self, allocated_before: int, draws: int) -> None:
        """Take note of the memory that the first pass, of so many draws, used on a GPU; later calls do nothing."""
        if self._device.type == "cuda" and self._fitting is None:
            used = (torch.cuda.max_memory_allocated(self._device) - allocated_before) // draws
            self._fitting = fitting(self._draws, used, free_memory(self._device))

    def allocated(self) -> int:
        """Return the bytes allocated on the GPU now, 0 on a CPU."""
        return torch.cuda.memory_allocated(self._device) if self._device.type == "cuda" else 0
