"""One at a time: what all threads of a process share is used by one of them, and the others wait.

Shared are networks (their hooks, their modes, and their weights where an adapter merges), tokenizers, torch's global random
state and default dtype, and Pyro's stack of handlers. So every fit, prediction and text runs alone in its process; threads
that call at the same time get what they would have got one after the other. Work in parallel takes processes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")

_lock = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """Run a `with` block while no other thread is in such a block; as a decorator, `@alone()`, a function.

    Blocks of one thread may lie inside each other. The default dtype is float32 inside, whatever the user's is outside: what
    is made beside a network is in single precision, and the same for everybody.
    """
    with _lock:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


@contextmanager
def alone_at_the_ends(context: AbstractContextManager[T]) -> Iterator[T]:
    """Enter and leave a context alone, and let other threads in between: for blocks that last as long as a user likes."""
    stack = ExitStack()
    with alone():
        value = stack.enter_context(context)
    try:
        yield value
    finally:
        with alone():
            stack.close()


def _forked() -> None:
    """Free the lock in a child process: whichever thread held it stayed behind."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
