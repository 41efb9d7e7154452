"""Passes over a `DataLoader` that can be repeated: copies of its samplers, and random numbers of their own.

A loader that shuffles gives another order whenever it is read, and reading it moves the caller's random numbers. Here each
pass takes its randomness from a seed, and from copies of the generators that the loader was handed over with.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Sampler

from bayespeft.errors import DataError

T = TypeVar("T")
_States = tuple[Any, Any, torch.Tensor]


class Stream:
    """The global random numbers of Python, NumPy and torch's CPU, in states that are seen by calls through here alone."""

    def __init__(self, seed: int) -> None:
        self._states: _States = (
            random.Random(seed).getstate(),
            np.random.RandomState(seed % 2**32).get_state(),
            torch.Generator().manual_seed(seed).get_state(),
        )

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function that draws from this stream."""
        before = _states()
        _set(self._states)
        try:
            return function()
        finally:
            self._states = _states()
            _set(before)


def _states() -> _States:
    return random.getstate(), np.random.get_state(), torch.random.get_rng_state()


def _set(states: _States) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.random.set_rng_state(states[2])


def private(loader: DataLoader[Any], complete: bool = False) -> DataLoader[Any]:
    """Return a copy of a loader whose samplers and generators are its own, in the states that they are in.

    Args:
        loader: is left alone. Its data set, its collation and whatever else can't be copied is shared.
        complete: the last batch is not dropped, where torch's own `BatchSampler` would drop it.
    """
    copied: dict[int, Any] = {}
    own = _copy(loader, copied)
    if complete and type(own.batch_sampler) is BatchSampler:
        own.batch_sampler.drop_last = False
    # Persistent workers belong to the loader that started them.
    object.__setattr__(own, "_iterator", None)
    return own  # type: ignore[no-any-return]


def _copy(value: Any, copied: dict[int, Any]) -> Any:
    """Copy a loader or a sampler, the samplers that it reads from, and their generators, each once."""
    if id(value) in copied:
        return copied[id(value)]
    if isinstance(value, torch.Generator):
        new: Any = torch.Generator(value.device)
        new.set_state(value.get_state())
    elif isinstance(value, (random.Random, np.random.Generator, np.random.RandomState)):
        new = copy.deepcopy(value)
    else:
        try:
            new = copy.copy(value)
        except TypeError:  # a sampler around an open iterator, say: it can only be shared
            new = value
    copied[id(value)] = new
    for name, part in vars(new).items() if new is not value and hasattr(new, "__dict__") else ():
        if name in ("sampler", "batch_sampler") or isinstance(
            part, (Sampler, torch.Generator, random.Random, np.random.Generator, np.random.RandomState)
        ):
            # A loader refuses that its samplers be set.
            object.__setattr__(new, name, _copy(part, copied))
    return new


def read(items: Iterable[T], seed: int) -> Iterator[T]:
    """Yield items, read with the global random numbers of a seed: what draws from them gives the same again."""
    stream, end = Stream(seed), object()
    iterator = stream.call(lambda: iter(items))
    while (item := stream.call(lambda: next(iterator, end))) is not end:
        yield item


def pass_seed(shuffle: torch.Generator | None) -> int:
    """Return the seed of one pass: another for each that shuffles, by one draw, and always the same for those that don't."""
    return 0 if shuffle is None else int(torch.randint(2**31, (), generator=shuffle, device=shuffle.device))


def batch_sizes(loader: DataLoader[Any], once: bool) -> list[int] | None:
    """Return the sizes of the batches of one pass, from the samplers alone; None where they don't say.

    Args:
        loader: which is not moved.
        once: every example is to come once.

    Raises:
        DataError: one comes twice, and is to come once.
    """
    seen: set[Any] = set()

    def count() -> list[int] | None:
        sizes = []
        for batch in private(loader).batch_sampler or ():
            if not isinstance(batch, Sized) or not isinstance(batch, (list, tuple)):
                return None
            sizes.append(len(batch))
            if once:
                for index in batch:
                    if index in seen:
                        raise DataError(
                            f"the DataLoader's sampler gives example {index} more than once (does it draw with "
                            "replacement?). To predict, every example is needed once: use a DataLoader without such a "
                            "sampler."
                        )
                    seen.add(index)
        return sizes

    return Stream(0).call(count)  # type: ignore[no-any-return]
