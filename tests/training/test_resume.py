"""A state is what was written, or an error; a fit that is asked to stop finishes its step, writes it, and goes on later."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import CheckpointError
from bayespeft.training.resume import Checkpoint


@pytest.fixture
def state(tmp_path):
    return Checkpoint(tmp_path / "run-0.pt", 5, "key")


def test_no_bit_of_a_state_can_flip_without_a_word(state):
    state.write({"done": 3, "values": torch.arange(5.0), "history": {"seconds": 1.5}})
    assert torch.equal(state.read()["values"], torch.arange(5.0))
    assert state.carried == 1.5
    content, generator = state.path.read_bytes(), random.Random(0)
    for _ in range(200):
        flipped = bytearray(content)
        flipped[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        state.path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match="delete it to start anew"):
            state.read()
    for torn in (b"", b"torn", content[:-1], content[:60], content + b"\n"):
        state.path.write_bytes(torn)
        with pytest.raises(CheckpointError, match="delete it to start anew"):
            state.read()


def test_a_full_disk_is_told_and_leaves_the_state_before(state, monkeypatch):
    state.write({"done": 3, "history": {"seconds": 0}})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"after step 4: .*No space left on device.*make room"):
        state.write({"done": 4})
    monkeypatch.undo()
    assert state.read()["done"] == 3
    assert os.listdir(state.path.parent) == ["run-0.pt"]


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
        with pytest.raises(CheckpointError, match=r"checkpoint: .*is in use by another process"):
            fit(mlp, xy, tmp_path / "state")
    finally:
        other.kill()
        other.communicate()
    fit(mlp, xy, tmp_path / "state")


def fit(model, data, directory=None, steps=8, **options):
    train = TrainConfig(steps=steps, batch_size=20, lr=0.05)
    return bayespeft.fit(
        model, data, targets="all-linear", train=train, progress=False, checkpoint=directory, checkpoint_every=100, **options
    )  # fmt: skip


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_a_fit_after_its_step_and_it_goes_on_bit_equal(
    mlp, xy, tmp_path, monkeypatch, capsys, number, ends
):
    wanted = fit(mlp, xy).predict(xy, draws=2).probs
    before, steps = signal.getsignal(number), iter(range(100))
    step = torch.optim.AdamW.step

    def interrupted(self, *args, **kwargs):
        if next(steps) == 2:
            signal.raise_signal(number)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(ends) as raised:
        fit(mlp, xy, tmp_path)
    if ends is SystemExit:
        assert raised.value.code == 143
    assert f"Stopped after step 3 of 8; the state is in '{tmp_path / 'run-0.pt'}'" in capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert not any(module._forward_hooks for module in mlp.modules())
    monkeypatch.undo()
    assert torch.equal(fit(mlp, xy, tmp_path).predict(xy, draws=2).probs, wanted)


def test_who_asks_twice_does_not_wait(mlp, xy, tmp_path, monkeypatch):
    def stuck(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        time.sleep(20)

    monkeypatch.setattr(torch.optim.AdamW, "step", stuck)
    with pytest.raises(KeyboardInterrupt):
        fit(mlp, xy, tmp_path)
    assert not list(tmp_path.glob("*.pt"))
