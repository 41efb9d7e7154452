"""Posteriors of the hub that can't be reached."""

from __future__ import annotations

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import CheckpointError
from bayespeft.io import checkpoint
from bayespeft.pretrained.base import quiet


def test_what_can_not_be_reached_is_told(bert, tokenizer, sentences):
    posterior = bayespeft.fit(bert, sentences, "mle", tokenizer=tokenizer, train=TrainConfig(steps=1), progress=False)
    with pytest.raises(CheckpointError, match="can't be pushed"):
        posterior.push_to_hub("not/a/name")


def test_a_language_model_is_loaded_as_one(gpt2, tokenizer, tmp_path):
    rows = [{"source": "the cat", "target": "sat"}, {"source": "the dog", "target": "ran"}]
    options = {"tokenizer": tokenizer, "train": TrainConfig(steps=1), "progress": False}
    posterior = bayespeft.fit(gpt2, rows, likelihood="language_modelling", **options)
    with quiet():
        gpt2.save_pretrained(tmp_path / "network")
    tokenizer.save_pretrained(tmp_path / "network")
    posterior.save(tmp_path / "run")
    loaded = bayespeft.from_pretrained(tmp_path / "run", str(tmp_path / "network"), device="cpu")
    expected = posterior.predict(rows, draws=2).log_likelihood
    torch.testing.assert_close(loaded.predict(rows, draws=2).log_likelihood, expected)
    checkpoint.write(tmp_path / "both", *_changed(tmp_path / "run"))
    with pytest.raises(CheckpointError, match="an encoder and decoder, which is not loaded by name"):
        bayespeft.from_pretrained(tmp_path / "both", str(tmp_path / "network"))


def _changed(directory):
    tensors, settings = checkpoint.read(directory)
    settings["likelihood"]["encoder_decoder"] = True
    return tensors, settings
