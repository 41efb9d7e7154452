"""Which process makes a run: several comparisons that write into one folder share the work, and none does it twice."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bayespeft.errors import FileError
from bayespeft.utils.files import locked

STATES = "states"


@contextmanager
def claimed(folder: Path, key: str) -> Iterator[Path | None]:
    """Have a run for this process alone, for the length of a `with` block.

    Args:
        folder: of results.
        key: of the run.

    Yields:
        A folder for the states of its training, which stays if the block is left by an interrupt, and otherwise goes; None
        where another process has the run. A process that ends, however it does, has none any more.
    """
    place = folder / STATES / hashlib.sha256(key.encode()).hexdigest()[:16]
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(place, wait=False))
        except FileError:
            yield None
            return
        try:
            yield place
        except Exception:
            shutil.rmtree(place, ignore_errors=True)
            raise
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # other runs have states
            place.parent.rmdir()
