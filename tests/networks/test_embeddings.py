"""Embeddings of new tokens, as resizing makes them: all alike, and told of."""

from __future__ import annotations

import copy

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.networks.embeddings import fresh_rows, fresh_tokens


def test_embeddings_that_resizing_made_are_told_of(llama, tokenizer, tmp_path):
    known = copy.deepcopy(tokenizer)
    known.add_tokens([f"new{i}" for i in range(64 - len(known) + 3)])
    assert len(known) == 67
    rows = [{"source": "the cat", "target": "good"}] * 4
    options = {"likelihood": "language_modelling", "train": TrainConfig(steps=1, batch_size=4), "progress": False}
    assert fresh_rows(llama) == 0
    with torch.random.fork_rng():
        llama.resize_token_embeddings(len(known))
    assert fresh_rows(llama) == 3
    assert fresh_tokens(llama, tokenizer) == fresh_tokens(llama, None) == []
    with pytest.warns(UserWarning, match=r"embeddings of 3 tokens .*'new24'.*Adapters train no embeddings"):
        posterior = bayespeft.fit(llama, rows, "mle", tokenizer=known, **options)
    with pytest.warns(UserWarning, match=r"last 3 rows of the network's embedding .*a LoRA holds no embeddings"):
        posterior.export_peft(tmp_path / "lora")
    # Rows that mean something are nothing to tell of.
    llama.get_input_embeddings().weight.data[64:] = llama.get_input_embeddings().weight.data[:3]
    assert fresh_rows(llama) == 0
    bayespeft.fit(llama, rows, "mle", tokenizer=known, **options).export_peft(tmp_path / "again")


def test_networks_without_embeddings_have_no_fresh_ones(mlp, bert):
    assert fresh_rows(mlp) == fresh_rows(bert) == 0
    bert.get_input_embeddings().weight.data.zero_()
    assert fresh_rows(bert) == 0
