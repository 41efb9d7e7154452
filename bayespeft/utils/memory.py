"""Free and peak memory, in bytes, on a GPU or a CPU, and how it is said."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import ClassVar

import psutil
import torch


def free_memory(device: torch.device) -> int:
    """Return the bytes that can still be allocated on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return int(psutil.virtual_memory().available)


def byte_text(count: int) -> str:
    """Return a number of bytes as a text in MiB, or in GiB from one on."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


class PeakMemory:
    """Measures the most memory in use inside a `with` block: `peak`, in bytes.

    On CUDA it is the allocator's own figure. On a CPU it is the process's resident memory, sampled twenty times a
    second, so a short spike can be missed. A block inside a block resets that figure, so the outer one notes it first.
    """

    _open: ClassVar[list[PeakMemory]] = []

    def __init__(self, device: torch.device) -> None:
        self.peak: int | None = None
        self._device = device
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            for outer in self._open:
                outer.peak = max(outer.peak or 0, torch.cuda.max_memory_allocated(self._device))
            self._open.append(self)
            torch.cuda.reset_peak_memory_stats(self._device)
        elif self._device.type == "cpu":
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def _sample(self) -> None:
        process = psutil.Process()
        while True:
            self.peak = max(self.peak or 0, process.memory_info().rss)
            if self._stop.wait(0.05):
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self._open.remove(self)
            self.peak = max(self.peak or 0, torch.cuda.max_memory_allocated(self._device))
        elif self._thread is not None:
            self._stop.set()
            self._thread.join()
