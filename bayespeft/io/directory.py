"""A directory that is written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from bayespeft.errors import CheckpointError, FileError
from bayespeft.utils.files import beside, is_stray, sync, told


def check_place(directory: str | os.PathLike[str], files: tuple[str, ...], what: str) -> None:
    """Check that a directory can be written here, for instance before hours of fitting.

    Args:
        directory: the path.
        files: names of what may be there already, since it would be replaced.
        what: what these files are, for the message.

    Raises:
        CheckpointError: the path is a file, or a directory that holds something else, or nothing can be written there.
    """
    target = Path(directory)
    check_writable(target.parent)
    there = [path.name for path in target.iterdir()] if target.is_dir() else []
    strangers = [name for name in there if name not in files and not any(is_stray(name, file) for file in files)]
    if strangers or (target.exists() and not target.is_dir()):
        raise CheckpointError(
            f"'{target}' holds {strangers[0] if strangers else 'a file'}, which is no part of {what}; choose an empty "
            "or new directory."
        )


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Check that a folder, or the nearest one above it that is there, can be written to, by writing to it.

    Raises:
        CheckpointError: it can't.
    """
    try:
        there = next(place for place in (Path(folder), *Path(folder).absolute().parents) if place.exists())
        os.rmdir(tempfile.mkdtemp(prefix=".bayespeft-", dir=there))
    except OSError as error:
        raise CheckpointError(f"'{folder}' can't be written to: {error}. Choose another place.") from None


@contextmanager
def replacing(directory: str | os.PathLike[str], files: tuple[str, ...], what: str) -> Iterator[Path]:
    """Give a fresh directory to write into, which takes the place of `directory` at the end of the `with` block.

    It lies beside `directory`, or beside what that links to; an error, or a crash, in the block leaves what was there. At the
    end of it all is on the disk. Who may read it, and the files in it, the umask says. Arguments and errors as `check_place`;
    a full disk is a CheckpointError, too, and so is the working directory.
    """
    check_place(directory, files, what)
    target = Path(os.path.realpath(directory))
    if target == Path.cwd():
        raise CheckpointError(
            f"'{directory}' is the working directory, in whose place {what} can't be put: name a folder in it."
        )
    try:
        with told(directory, SafetensorError), _replaced(target) as fresh:
            yield fresh
    except FileError as error:
        raise CheckpointError(str(error)) from None


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    for stray in target.parent.iterdir():
        if is_stray(stray.name, target.name) or is_stray(stray.name, f"{target.name}.old"):
            shutil.rmtree(stray, ignore_errors=True)
    # Not `tempfile`, whose directories are private to the user, and stay so after the rename.
    fresh, old = beside(target), beside(target.with_name(f"{target.name}.old"))
    fresh.mkdir()
    try:
        yield fresh
        for file in fresh.rglob("*"):
            # safetensors' files are private to the user, too.
            file.chmod(fresh.stat().st_mode & (0o777 if file.is_dir() else 0o666))
            sync(file)
        sync(fresh)
        if target.exists():
            os.replace(target, old)
            os.replace(fresh, target)
            shutil.rmtree(old)
        else:
            os.replace(fresh, target)
        sync(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
