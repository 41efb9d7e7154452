"""A state is what was written, or an error; a fit that is asked to stop finishes its step, writes it, and goes on later."""

from __future__ import annotations

import os
import random

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.errors import CheckpointError
from bayespeft.training.resume import Checkpoint
from tests.training.resumed import fit, killed_after


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


@pytest.mark.parametrize("method", ["melora", "mle", "ensemble"])
def test_a_fit_goes_on_with_another_number_of_threads(method, bert, tokenizer, sentences, tmp_path, monkeypatch):
    """Matrices are decomposed, and sums are taken, with other last digits there."""
    train = TrainConfig(steps=20, batch_size=8)
    options = {"tokenizer": tokenizer, "train": train, "progress": False}
    whole = bayespeft.fit(bert, sentences, method, **options).predict(sentences, draws=2).probs
    options |= {"checkpoint": tmp_path, "checkpoint_every": 5}
    killed_after(monkeypatch, 10, lambda: bayespeft.fit(bert, sentences, method, **options))
    torch.set_num_threads(2)
    resumed = bayespeft.fit(bert, sentences, method, **options).predict(sentences, draws=2).probs
    torch.testing.assert_close(resumed, whole, atol=1e-4, rtol=0)


def test_a_state_brings_its_own_frames(mlp, xy, tmp_path, monkeypatch):
    """What another machine decomposes to, as here in another order, has no part in a fit that goes on."""
    svd = torch.linalg.svd

    def other(matrix, full_matrices=True):
        left, values, right = svd(matrix, full_matrices)
        order = [1, 0, *range(2, len(values))]
        return left[:, order], values[order], right[order]

    adapter = FrozenCore(r=3, alpha=6)
    whole = fit(mlp, xy, adapter=adapter).predict(xy, draws=2).probs
    killed_after(monkeypatch, 4, lambda: fit(mlp, xy, tmp_path, adapter=adapter, checkpoint_every=2))
    with monkeypatch.context() as patched:
        patched.setattr(torch.linalg, "svd", other)
        resumed = fit(mlp, xy, tmp_path, adapter=adapter)
        elsewhere = fit(mlp, xy, adapter=adapter)
    torch.testing.assert_close(resumed.predict(xy, draws=2).probs, whole, atol=1e-6, rtol=0)
    assert not torch.allclose(elsewhere.predict(xy, draws=2).probs, whole, atol=1e-6, rtol=0)
