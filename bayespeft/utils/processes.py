"""Torch's process group, as launchers of several processes make it; one process where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import torch.distributed as dist

T = TypeVar("T")
R = TypeVar("R")


def grouped() -> bool:
    """Whether this process is in a group."""
    return dist.is_available() and dist.is_initialized()


def process() -> int:
    """Return the number of this process in its group, from 0."""
    return dist.get_rank() if grouped() else 0


def processes() -> int:
    """Return how many processes the group has."""
    return dist.get_world_size() if grouped() else 1


def shared_out(items: Iterable[T], work: Callable[[T], R]) -> Iterator[R]:
    """Yield the work on each item, in order, in every process of the group; each item is worked on by one of them.

    All processes call it with the same items. An error of one of them is raised in all.
    """
    count, own = processes(), process()
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
