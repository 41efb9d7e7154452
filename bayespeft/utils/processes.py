"""Torch's process group, as launchers of several processes make it; one process where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import torch.distributed as dist

T = TypeVar("T")
R = TypeVar("R")


def distributed() -> bool:
    """Whether this process is one of a group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the number of this process in its group, from 0."""
    return dist.get_rank() if distributed() else 0


def world_size() -> int:
    """Return how many processes the group has, 1 without one."""
    return dist.get_world_size() if distributed() else 1


def shared_out(items: Iterable[T], work: Callable[[T], R]) -> Iterator[R]:
    """Yield what `work` returns for each item, in order, in every process of the group; one of them works on each item.

    All processes call it with the same items. What `work` raises in one of them is raised in all.
    """
    count, own = world_size(), rank()
    iterator = iter(items)
    while some := list(islice(iterator, count)):
        found: tuple[Any, Exception | None] = (None, None)
        if own < len(some):
            try:
                found = work(some[own]), None
            except Exception as own_error:
                # The others wait for this process, whatever happens to it.
                found = None, own_error
        everybody: list[Any] = [found]
        if count > 1:
            everybody = [None] * count
            dist.all_gather_object(everybody, found)
        for result, error in everybody[: len(some)]:
            if error is not None:
                raise error
            yield result
