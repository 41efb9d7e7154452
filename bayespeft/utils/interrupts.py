"""SIGINT and SIGTERM in the middle of a step: the step is finished, its state is written, and only then the process ends."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Signals that have come, and what the process does about such signals otherwise."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def watch(self) -> None:
        """Note signals from now on; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            return
        self.restore()  # whoever asks twice does not want to wait
        self.end("")

    def restore(self) -> None:
        """Leave signals to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def end(self, words: str) -> NoReturn:
        """Say something on standard error, and end as the signal asks: exit codes 130 and 143, unless the caller catches it.

        Raises:
            KeyboardInterrupt, SystemExit: always.
        """
        if words:
            print(words, file=sys.stderr, flush=True)
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt(words)
        raise SystemExit(128 + signal.SIGTERM)


@contextmanager
def postponed(wanted: bool) -> Iterator[Interrupts]:
    """Note signals inside a `with` block, if that is wanted, in place of being stopped by them."""
    interrupts = Interrupts()
    if wanted:
        interrupts.watch()
    try:
        yield interrupts
    finally:
        interrupts.restore()
    if interrupts.received is not None:  # too late for the block to heed it
        interrupts.end("")
