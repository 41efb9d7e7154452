"""A directory that is written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayespeft.errors import CheckpointError


def check_place(directory: str | os.PathLike[str], files: tuple[str, ...], what: str) -> None:
    """Check that a directory can be written here.

    Args:
        directory: the path.
        files: names of what may be there already, since it would be replaced.
        what: what these files are, for the message.

    Raises:
        CheckpointError: the path is a file, or a directory that holds something else.
    """
    target = Path(directory)
    strangers = [p.name for p in target.iterdir() if p.name not in files] if target.is_dir() else []
    if strangers or (target.exists() and not target.is_dir()):
        raise CheckpointError(
            f"'{target}' holds {strangers[0] if strangers else 'a file'}, which is no part of {what}; choose an empty "
            "or new directory."
        )


@contextmanager
def replacing(directory: str | os.PathLike[str], files: tuple[str, ...], what: str) -> Iterator[Path]:
    """Give a fresh directory to write into, which takes the place of `directory` at the end of the `with` block.

    It lies beside `directory`; an error, or a crash, in the block leaves what was there. Arguments and errors as
    `check_place`.
    """
    check_place(directory, files, what)
    target = Path(directory)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield fresh
        fresh.chmod(0o755)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            os.replace(target, old / "replaced")
            os.replace(fresh, target)
            shutil.rmtree(old)
        else:
            os.replace(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
