"""What is kept of examples comes back as it was, from memory and from a file that nobody else sees."""

from __future__ import annotations

import os
import tempfile

import pytest
import torch

from bayespeft.training import kept_outputs
from bayespeft.training.kept_outputs import InMemory, KeptOutputs, OnDisk, room_for

CPU = torch.device("cpu")


@pytest.fixture(params=["memory", "disk"])
def kept(request) -> KeptOutputs:
    return InMemory(CPU) if request.param == "memory" else OnDisk()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_tensors_come_back_bit_by_bit(kept, dtype):
    generator = torch.Generator().manual_seed(0)
    rows = {row: [torch.randn(row + 1, k, generator=generator).to(dtype) for k in (3, 2)] for row in (4, 0, 2)}
    for row, tensors in rows.items():
        # Columns of something larger, as tokens of a batch are.
        kept.keep(row, [torch.stack([tensor, tensor], 1)[:, 0] for tensor in tensors])
    for row in (0, 2, 4, 2):
        assert all(torch.equal(found, value) for found, value in zip(kept.of(row), rows[row], strict=True))


def test_what_is_kept_does_not_change_with_its_source(kept):
    source = torch.zeros(2, 2)
    kept.keep(0, [source])
    source += 1
    assert not kept.of(0)[0].any()


def test_the_file_is_gone_with_its_holder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = OnDisk()
    kept.keep(0, [torch.zeros(1000)])
    number = kept._file.fileno()
    del kept
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


@pytest.mark.parametrize(
    ("memory", "disk", "place"), [(1000, 0, InMemory), (100, 1000, OnDisk), (100, 100, type(None))], ids=str
)
def test_memory_comes_first_then_the_disk(monkeypatch, memory, disk, place):
    monkeypatch.setattr(kept_outputs, "free_memory", lambda _: memory)
    monkeypatch.setattr(kept_outputs.shutil, "disk_usage", lambda _: type("Usage", (), {"free": disk}))
    assert type(room_for(200, CPU)) is place


def test_the_host_s_memory_comes_behind_the_device_s(monkeypatch):
    monkeypatch.setattr(kept_outputs, "free_memory", lambda device: 1000 if device == CPU else 100)
    found = room_for(200, torch.device("meta"))
    assert isinstance(found, InMemory)
    assert found.device == CPU
