"""A state is what was written, or an error; a fit that is asked to stop finishes its step, writes it, and goes on later."""

from __future__ import annotations

import os
import random

import pytest
import torch

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
