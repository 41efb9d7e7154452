"""Memory in bytes: what is free, and the most that was in use."""

from __future__ import annotations

import psutil
import torch

from bayespeft.utils.memory import PeakMemory, free_memory

CPU = torch.device("cpu")


def test_free_memory_is_some_of_all():
    assert 0 < free_memory(CPU) <= psutil.virtual_memory().total


def test_the_peak_holds_what_was_allocated_inside():
    size = 2**27
    with PeakMemory(CPU) as memory:
        before = psutil.Process().memory_info().rss
        held = torch.ones(size, dtype=torch.uint8)
        while memory.peak is None or memory.peak < before + size // 2:
            held.add_(0)  # until the thread has looked
    assert memory.peak >= before + size // 2


def test_a_device_without_a_figure_has_none():
    with PeakMemory(torch.device("meta")) as memory:
        pass
    assert memory.peak is None
