"""MiniLM, where it is installed."""

import pytest
import torch

from bayespeft.pretrained.load import load
from tests.pretrained.installed import real


@pytest.mark.real
def test_real_minilm(capfd):
    real("minilm")
    model, tokenizer = load("minilm", "classification", 4)
    again, _ = load("minilm", "classification", 4)
    assert torch.equal(model.classifier.weight, again.classifier.weight)
    assert (model.config.hidden_size, model.config.num_hidden_layers, model.config.num_labels) == (384, 6, 4)
    assert tokenizer.pad_token_id == model.config.pad_token_id == 0
    assert model(**tokenizer(["a text", "another, longer text"], padding=True, return_tensors="pt")).logits.shape == (
        2,
        4,
    )
    assert capfd.readouterr().err == ""
