"""Sequence classification: rows to inputs, labels by name, logits with and without a Hugging Face output."""

from __future__ import annotations

import pytest
import torch

from bayespeft.data.batch import Batch
from bayespeft.errors import DataError
from bayespeft.likelihoods.sequence_classification import SequenceClassification


def test_logits_are_those_of_the_network(bert, mlp):
    ids = torch.tensor([[2, 5, 6, 3]])
    batch = Batch({"input_ids": ids}, None, torch.arange(1))
    likelihood = SequenceClassification()
    assert torch.equal(likelihood.logits(bert, batch), bert(input_ids=ids).logits)
    x = torch.randn(2, 5)
    assert torch.equal(likelihood.logits(mlp, Batch(x, None, torch.arange(2))), mlp(x))


def test_pairs_are_tokenised_together_and_cut(bert, tokenizer):
    likelihood = SequenceClassification(max_length=6).resolve(bert, tokenizer, None)
    rows = [{"text": "a b c d e f", "text_pair": "g h", "label": 1}]
    (encoded,) = likelihood.encode(rows, tokenizer)
    assert len(encoded["input_ids"]) == 6
    assert tokenizer.decode(encoded["input_ids"]).split().count("[SEP]") == 2
    assert encoded["labels"] == 1


def test_limit_is_the_smallest_of_network_and_user(bert, tokenizer):
    assert SequenceClassification().resolve(bert, tokenizer, None).max_length == 64
    assert SequenceClassification(max_length=10).resolve(bert, tokenizer, None).max_length == 10


@pytest.mark.parametrize("text", [None, 3, ["a"]])
def test_text_must_be_a_string(bert, tokenizer, text):
    with pytest.raises(DataError, match=r"row 1: column 'text' must be a string.*this row has text, label"):
        SequenceClassification().encode([{"text": "a", "label": 0}, {"text": text, "label": 0}], tokenizer)


def test_labels_are_checked_with_row_and_remedy():
    likelihood = SequenceClassification()
    likelihood.check_labels(torch.tensor([0, 1, 2]), 3)
    with pytest.raises(DataError, match=r"row 2 has label 3.*0..2.*num_labels=4"):
        likelihood.check_labels(torch.tensor([0, 1, 3]), 3)
    with pytest.raises(DataError, match="integer per example"):
        likelihood.check_labels(torch.tensor([0.5]), 3)
