"""Files that are either whole or absent, on the disk when they are there: written beside their place, then renamed into it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bayespeft.errors import BayesPeftError, FileError

STRAY = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]*)-(?P<process>\d+)-\d+\.tmp")


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path`, making its folder if need be; on failure an earlier file at `path` stays as it was.

    What a process that was killed left beside the path is swept away.

    Raises:
        FileError: the folder can't be made or written to, or the path is no file's.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stray in path.parent.iterdir():
            if is_stray(stray.name, path.name):
                stray.unlink(missing_ok=True)
        # Not `tempfile`: its files are private to the user (mode 0600), and stay so after the rename.
        fresh = beside(path)
        try:
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        sync(path.parent)
    except (OSError, ValueError) as error:  # a name may be none, or hold what no name can
        raise _unwritable(path, error) from None


def check_room(path: str | os.PathLike[str], size: int) -> None:
    """Check that a file of so many bytes can be written at a path; where the system can, the room is set aside for a moment.

    Raises:
        FileError: it can't.
    """
    path = Path(path)
    fresh = beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(f"{size:,} bytes are needed, and {shutil.disk_usage(path.parent).free:,} are free")
        try:
            with fresh.open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
        finally:
            fresh.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


def beside(path: Path) -> Path:
    """Return a name beside a path that no other thread, process or machine takes, and by which `is_stray` knows it."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{threading.get_ident()}.tmp")


def is_stray(name: str, of: str) -> bool:
    """Whether a file was left by a process of this machine that was writing the file `of`, and is no more."""
    found = STRAY.fullmatch(name)
    return found is not None and found["name"] == of and found["host"] == _host() and not _alive(int(found["process"]))


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Let one process at a time into a `with` block over a folder, which is made if need be; dead ones hold no lock.

    Without such locks (Windows, some network drives) it lets all in.

    Args:
        folder: what is locked.
        wait: until it is free.

    Raises:
        FileError: the folder can't be made; or, where it does not wait, another process is in such a block.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"'{folder}' can't be made: {_why(error)}. Choose another place.") from None
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise FileError(
                f"'{folder}' is in use by another process or thread: wait until it ends, or choose another."
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def digest(content: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a file.

    Raises:
        FileError: there is none that can be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FileError(f"'{path}' can't be read: {_why(error)}.") from None


@contextmanager
def told(path: str | os.PathLike[str], *others: type[Exception]) -> Iterator[None]:
    """Say in a `with` block that writes to a path what kept it from that.

    Args:
        path: of the file or folder.
        others: errors that a library raises where the system refuses.

    Raises:
        FileError: the system refused.
    """
    refused: tuple[type[Exception], ...] = (OSError, *others)
    try:
        yield
    except BayesPeftError:
        raise
    except refused as error:
        raise _unwritable(Path(path), error) from None


def _unwritable(path: Path, error: Exception) -> FileError:
    return FileError(f"'{path}' can't be written: {_why(error)}. Choose another path, or make room.")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _host() -> str:
    return re.sub(r"[^\w-]", "_", socket.gethostname())


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no number of a process
        return True
    return True


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk, where the system can open it for that."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
