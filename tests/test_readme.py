"""The README's Python runs as it stands, on tiny networks in the place of those from the hub."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import transformers
from transformers import RobertaConfig, RobertaForSequenceClassification

import bayespeft
from bayespeft import TrainConfig

README = Path(__file__).parent.parent / "README.md"
ROWS = [{"text": f"the {animal} {verb}", "label": i % 2} for i, (animal, verb) in enumerate(
    (animal, verb) for animal in ("cat", "dog") for verb in ("sat", "ran", "is good", "was bad", "is not fine")
)]  # fmt: skip


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.M | re.S)


def roberta() -> RobertaForSequenceClassification:
    torch.manual_seed(0)
    return RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
            max_position_embeddings=40, pad_token_id=0, num_labels=2,
        )
    ).eval()  # fmt: skip


def test_every_block_runs_one_after_the_other(monkeypatch, tmp_path, tokenizer, gpt2):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("peft", reason="the LoRA that is imported is one of peft's")
    model = roberta()
    bayespeft.fit(model, ROWS, "mle", tokenizer=tokenizer, train=TrainConfig(steps=2), progress=False).export_peft(
        "my-lora"
    )
    for auto, found in (("AutoModelForSequenceClassification", model), ("AutoTokenizer", tokenizer)):
        monkeypatch.setattr(getattr(transformers, auto), "from_pretrained", lambda *_, found=found, **__: found)
    pairs = [{"source": "the cat", "target": "sat"}, {"source": "the dog", "target": "ran"}]
    names = {
        "__name__": "tests.readme",  # what the README's lines warn of fails, too
        "train": ROWS,
        "test": ROWS[:4],
        "validation": ROWS[4:],
        "loader": [ROWS[:5], ROWS[5:]],
        "others": [{"text": "good bad good"}],
        "network": torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)),
        "x": torch.randn(12, 3),
        "y": torch.randn(12, 1),
        "llm": gpt2,
        "llm_tokenizer": tokenizer,
        "rows": pairs,
        "prompts": ["the cat"],
        "targets": ["sat"],
    }
    code = blocks()
    assert len(code) == 6
    for block in code:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert len(names["answers"].texts) == 1
    assert names["mine"].guide.kind == "full_covariance"
    for wrote in ("law.png", "answers.html", "mean-lora", "merged", "state"):
        assert (tmp_path / wrote).exists(), wrote
