"""Folders of states that can't be used are told before the first step."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from bayespeft.errors import CheckpointError
from tests.training.resumed import fit


def test_a_disk_without_room_is_told_before_the_first_step(mlp, xy, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: pytest.fail("trained first"))

    def full(*_):
        raise OSError(28, "No space left on device")

    for patched in ("a quota", "the disk"):
        if patched == "a quota":
            monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
        else:
            monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=7))
        with pytest.raises(CheckpointError, match=r"states of the training: .*(No space left|7 are free).*make room"):
            fit(mlp, xy, tmp_path / "state")
        assert os.listdir(tmp_path / "state") == []


def test_a_directory_serves_one_fit_at_a_time(mlp, xy, tmp_path):
    code = (
        "import sys, time, pathlib; from bayespeft.utils.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), wait=False):\n    print('in', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, tmp_path / "state"], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(CheckpointError, match=r"checkpoint: .*is in use by another process or thread"):
            fit(mlp, xy, tmp_path / "state")
    finally:
        other.kill()
        other.communicate()
    fit(mlp, xy, tmp_path / "state")
