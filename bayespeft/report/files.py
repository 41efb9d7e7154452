"""Files that are either whole or absent: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path`, making its folder if need be; on failure an earlier file at `path` stays as it was.

    Raises:
        OSError: the folder can't be made or written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `tempfile`: its files are private to the user (mode 0600), and stay so after the rename.
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
