"""A posterior on disk is whole or not there, and is read strictly."""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys

import pytest
import torch

from bayespeft.errors import CheckpointError, FileError
from bayespeft.io import checkpoint
from bayespeft.layers.fingerprint import check_fingerprint, fingerprint

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.zeros(0)}


def test_what_is_written_is_read(tmp_path):
    checkpoint.write(tmp_path / "deep" / "out", TENSORS, {"x": [1, 2.5, None]})
    tensors, settings = checkpoint.read(tmp_path / "deep" / "out")
    assert (settings["format"], settings["x"]) == (2, [1, 2.5, None])
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("failing", range(5))
def test_a_failure_at_any_point_leaves_the_old_one_or_the_new_one(tmp_path, monkeypatch, failing):
    checkpoint.write(tmp_path / "out", TENSORS, {"x": 1})
    write, count = checkpoint.write_atomic, iter(range(9))

    def fail(path, content):
        if next(count) == failing:
            raise FileError("the disk is full")
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_atomic", fail)
    new = {"a": TENSORS["a"] + 1}
    if failing < 4:
        with pytest.raises(CheckpointError, match="the disk is full"):
            checkpoint.write(tmp_path / "out", new, {"x": 2})
    else:
        checkpoint.write(tmp_path / "out", new, {"x": 2})
    tensors, settings = checkpoint.read(tmp_path / "out")
    assert settings["x"] == (1 if failing < 2 else 2)
    assert torch.equal(tensors["a"], TENSORS["a"] if failing < 2 else new["a"])
    assert len(os.listdir(tmp_path / "out")) == 2  # nothing else stays behind
    monkeypatch.setattr(checkpoint, "write_atomic", write)
    checkpoint.write(tmp_path / "out", TENSORS, {"x": 3})
    assert sorted(os.listdir(tmp_path / "out")) == ["posterior.json", "posterior.safetensors"]


def test_a_failure_leaves_nothing_where_nothing_was(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "write_atomic", lambda *_: (_ for _ in ()).throw(FileError("the disk is full")))
    with pytest.raises(CheckpointError, match="the disk is full"):
        checkpoint.write(tmp_path / "out", TENSORS, {"x": 2})
    assert os.listdir(tmp_path) == []


def test_nothing_else_is_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds thesis.tex, which is no part of a posterior"):
        checkpoint.write(tmp_path, TENSORS, {})
    assert (tmp_path / "thesis.tex").exists()


def test_missing_damaged_and_newer_files_are_errors(tmp_path):
    with pytest.raises(CheckpointError, match=r"posterior.json is missing"):
        checkpoint.read(tmp_path)
    checkpoint.write(tmp_path / "out", TENSORS, {})
    path, tensors = tmp_path / "out" / checkpoint.SETTINGS, tmp_path / "out" / checkpoint.TENSORS
    whole = path.read_text()
    for text, message in (
        ('{"format": 99}', "format 99, this package reads 2"),
        ("{", "damaged"),
        ("[]", "holds no JSON object"),
        ("null", "holds no JSON object"),
        ("\udcff", "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"format": 1' + "0" * 5000 + "}", "damaged"),
        ('{"format": 2}', "is not what was saved"),
        (whole.replace("posterior.safetensors", "../../secret"), "is not what was saved"),
        (whole.replace('"file"', '"FILE"'), "is not what was saved"),
    ):
        path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(CheckpointError, match=message):
            checkpoint.read(tmp_path / "out")
    path.write_text(whole)
    checkpoint.read(tmp_path / "out")
    content = tensors.read_bytes()
    for bad in (b"not safetensors at all", content[:-1], content + b"\0", b""):
        tensors.write_bytes(bad)
        with pytest.raises(CheckpointError, match=r"posterior.safetensors is not what was saved"):
            checkpoint.read(tmp_path / "out")
    tensors.unlink()
    with pytest.raises(CheckpointError, match=r"posterior.safetensors is missing"):
        checkpoint.read(tmp_path / "out")


def test_no_bit_of_either_file_can_flip_without_a_word(tmp_path):
    checkpoint.write(tmp_path / "out", TENSORS, {"x": [1, 2.5, None], "names": {"a": "ä"}})
    before = checkpoint.read(tmp_path / "out")
    generator = random.Random(0)
    for name in (checkpoint.TENSORS, checkpoint.SETTINGS):
        path = tmp_path / "out" / name
        content = path.read_bytes()
        for _ in range(300):
            bit = generator.randrange(8 * len(content))
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            try:
                tensors, settings = checkpoint.read(tmp_path / "out")
            except CheckpointError:
                continue
            # White space says nothing: what is read is then what was written.
            assert name == checkpoint.SETTINGS
            assert settings == before[1]
            assert all(torch.equal(tensors[key], before[0][key]) for key in tensors)
        path.write_bytes(content)


KILLED = """
import os, sys, torch
from bayespeft.io import checkpoint
write = checkpoint.write_atomic
calls = iter(range(9))
def die(path, content):
    if next(calls) == int(sys.argv[2]):
        (path.parent / f".{path.name}.{files._host()}-{os.getpid()}-1.tmp").write_bytes(content[:3])
        os._exit(9)
    write(path, content)
from bayespeft.utils import files
checkpoint.write_atomic = die
checkpoint.write(sys.argv[1], {"a": torch.ones(2)}, {"x": 2})
"""


@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_process_leaves_one_of_both_and_what_it_left_is_swept(tmp_path, at):
    checkpoint.write(tmp_path / "out", {"a": torch.zeros(2)}, {"x": 1})
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path / "out", str(at)], check=False).returncode == 9
    tensors, settings = checkpoint.read(tmp_path / "out")
    assert (tensors["a"][0], settings["x"]) == ((0, 1) if at == 1 else (1, 2))
    assert len(os.listdir(tmp_path / "out")) > 2
    checkpoint.write(tmp_path / "out", {"a": torch.zeros(2)}, {"x": 3})
    assert sorted(os.listdir(tmp_path / "out")) == ["posterior.json", "posterior.safetensors"]


def test_a_base_may_be_stored_in_a_higher_precision_than_the_fit_had_and_in_no_lower_one(mlp):
    original = copy.deepcopy(mlp)
    saved = fingerprint(mlp.bfloat16())
    check_fingerprint(saved, original)
    check_fingerprint(saved, copy.deepcopy(mlp).float())
    with pytest.raises(CheckpointError, match=r"in torch.float32, and here it is torch.bfloat16.*dtype=torch.float32"):
        check_fingerprint(fingerprint(original), mlp)
    with pytest.raises(CheckpointError, match=r"in torch.bfloat16, and here it is torch.float16"):
        check_fingerprint(saved, copy.deepcopy(original).half())
    with torch.no_grad():
        original[2].bias[3] += 0.1
    with pytest.raises(CheckpointError, match=r"'2.bias' has other values.*rounded to torch.bfloat16"):
        check_fingerprint(saved, original)
