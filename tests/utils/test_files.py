"""Files are whole or absent; folders are locked while they are in use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bayespeft.errors import DataError, FileError
from bayespeft.utils import files


def test_what_a_dead_process_left_is_swept_and_nothing_else(tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = int(ended.stdout)
    names = {
        f".out.{files._host()}-{dead}-1.tmp": False,
        f".out.{files._host()}-{os.getppid()}-1.tmp": True,
        f".out.another-machine-{dead}-1.tmp": True,
        f".other.{files._host()}-{dead}-1.tmp": True,
        "out.tmp": True,
    }
    for name in names:
        (tmp_path / name).write_text("x")
    files.write_atomic(tmp_path / "out", b"new")
    assert {name: (tmp_path / name).exists() for name in names} == names
    assert (tmp_path / "out").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["", "file/in/a/file", "x" * 300])
def test_a_path_that_is_none_is_an_error_of_ours(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="can't be written"):
        files.write_atomic(tmp_path / name if name else "", b"")
    with pytest.raises(FileError, match="can't be read"):
        files.read_text(tmp_path / "absent")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_in_use_is_refused_to_who_does_not_wait(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from bayespeft.utils.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), wait=False): pass"
    )
    with files.locked(tmp_path / "new", wait=False):
        second = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "new"], capture_output=True, text=True, check=False
        )
    assert "is in use by another process or thread: wait until it ends" in second.stderr
    with files.locked(tmp_path / "new", wait=False):
        pass


def test_what_the_system_refuses_is_told_with_the_path(tmp_path):
    """Errors of ours pass as they are, and so do those of mistakes."""

    def raising(error, *others):
        with files.told(tmp_path / "out", *others):
            raise error

    for error in (OSError(28, "No space left on device"), ValueError("No space left on device")):
        with pytest.raises(FileError, match=r"out' can't be written: No space left on device\. Choose another path"):
            raising(error, ValueError)
    for mine in (FileError("mine"), DataError("mine")):
        with pytest.raises(type(mine), match=r"^mine$"):
            raising(mine, ValueError)
    with pytest.raises(KeyError):
        raising(KeyError("x"))
