"""A sample of the table of architectures, from each of its tasks; and its text."""

from __future__ import annotations

import sys
import warnings

import pytest

from paper_repro import results
from paper_repro.architectures import run, tables
from paper_repro.architectures.case import classes_of, outcome

SAMPLE = [
    ("sequence", "BertForSequenceClassification", "ok"),
    ("sequence", "BartForSequenceClassification", "ok"),
    ("sequence", "DebertaV2ForSequenceClassification", "ok"),
    ("causal", "GPT2LMHeadModel", "ok"),
    ("causal", "MixtralForCausalLM", "ok"),
    ("causal", "BloomForCausalLM", "ok"),
    ("causal", "MambaForCausalLM", "refused"),  # no attention
    ("seq2seq", "T5ForConditionalGeneration", "ok"),
    ("image", "ViTForImageClassification", "ok"),
    ("image", "SwinForImageClassification", "ok"),  # windows of several images side by side
    ("image", "ResNetForImageClassification", "refused"),  # no linear layer
    ("audio", "Wav2Vec2ForSequenceClassification", "ok"),
]


@pytest.mark.parametrize(("task", "name", "wanted"), SAMPLE)
def test_a_sample(task, name, wanted):
    kinds = classes_of(task)
    if name not in kinds:
        pytest.skip("this version of transformers lacks it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = outcome(task, name, kinds[name], "auto")
    assert found["outcome"] == wanted, found
    assert (found.get("layers", 0) > 0) == (wanted == "ok")


def test_the_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FILE", tmp_path / "results.jsonl")
    monkeypatch.setattr(sys, "argv", [str(run.__file__)])
    assert tables.counts() == tables.fine() == tables.others() == "not measured yet"
    for name, found in {
        "A": {"outcome": "refused", "reason": "layer 'a.b' got an input of 9 rows in a batch of 2, so"},
        "B": {"outcome": "refused", "reason": "layer 'c' got an input of 5 rows in a batch of 2, so"},
        "C": {"outcome": "ok", "layers": 3},
    }.items():
        results.append("architectures", task="image", network=name, targets="auto", method="melora", **found)
    assert "| image classification | `auto` | 3 | 1 | 2 | 0 | 0 |" in tables.counts()
    assert "`auto`**: C" in tables.fine()
    assert "| refused | a layer got an input of other rows than the batch, so | `auto` | A, B |" in tables.others()
