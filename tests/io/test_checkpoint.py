"""A posterior on disk is whole or not there, and is read strictly."""

from __future__ import annotations

import copy
import json
import os

import pytest
import torch
from torch import nn

from bayespeft.errors import CheckpointError
from bayespeft.io import checkpoint
from bayespeft.io.fingerprint import check_fingerprint, fingerprint

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.zeros(0)}


def test_what_is_written_is_read(tmp_path):
    checkpoint.write(tmp_path / "deep" / "out", TENSORS, {"x": [1, 2.5, None]})
    tensors, settings = checkpoint.read(tmp_path / "deep" / "out")
    assert settings == {"format": 1, "x": [1, 2.5, None]}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_crash_while_writing_leaves_the_old_one(tmp_path, monkeypatch):
    checkpoint.write(tmp_path / "out", TENSORS, {"x": 1})
    monkeypatch.setattr(checkpoint, "save_file", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.write(tmp_path / "out", TENSORS, {"x": 2})
    assert checkpoint.read(tmp_path / "out")[1]["x"] == 1
    assert os.listdir(tmp_path) == ["out"]


def test_nothing_else_is_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds thesis.tex, which is no part of a posterior"):
        checkpoint.write(tmp_path, TENSORS, {})
    assert (tmp_path / "thesis.tex").exists()


def test_missing_damaged_and_newer_files_are_errors(tmp_path):
    with pytest.raises(CheckpointError, match=r"posterior.safetensors is missing"):
        checkpoint.read(tmp_path)
    checkpoint.write(tmp_path / "out", TENSORS, {})
    path = tmp_path / "out" / checkpoint.SETTINGS
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(CheckpointError, match="format 99, this package reads 1"):
        checkpoint.read(tmp_path / "out")
    path.write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read(tmp_path / "out")
    path.write_text('{"format": 1}')
    (tmp_path / "out" / checkpoint.TENSORS).write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read(tmp_path / "out")


def test_fingerprint_names_what_differs(mlp):
    saved = fingerprint(mlp)
    check_fingerprint(saved, mlp)
    with torch.no_grad():
        mlp[2].bias[3] += 1
    with pytest.raises(CheckpointError, match=r"'2.bias' has other values"):
        check_fingerprint(saved, mlp)
    check_fingerprint(fingerprint(mlp, ["2"]), mlp, ["2"])
    with pytest.raises(CheckpointError, match=r"with '4.weight', which this one lacks"):
        check_fingerprint(saved | {"2.bias": fingerprint(mlp)["2.bias"]}, nn.Sequential(*list(mlp)[:4]))
    with pytest.raises(CheckpointError, match=r"this network has '5.weight'"):
        check_fingerprint(fingerprint(mlp), nn.Sequential(*mlp, nn.Linear(3, 3)))


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


def test_fingerprint_sees_dtype_and_handles_large_and_empty_tensors():
    model = nn.Linear(300, 300)
    assert fingerprint(model) != fingerprint(nn.Linear(300, 300))
    half = fingerprint(model.to(torch.bfloat16))
    assert half != fingerprint(model.to(torch.float32))
    model.register_buffer("empty", torch.zeros(0))
    model.register_buffer("scalar", torch.tensor(3))
    assert {"empty", "scalar"} <= set(fingerprint(model))
