"""A posterior goes to the hub and comes back, by huggingface_hub's own client; the card says what the report does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from huggingface_hub import ModelCard

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import CheckpointError
from bayespeft.io import hub as hub_module
from bayespeft.io.hub import model_card
from bayespeft.pretrained.base import quiet
from tests.io.hub_stub import Hub

REPO = "me/sentences"
# The client reads the address of the hub, and where its cache is, once: so in a process of its own.
SCRIPT = """
import json, sys
from transformers import AutoTokenizer, AutoModelForSequenceClassification
import bayespeft

base, rows, repo = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
model, tokenizer = AutoModelForSequenceClassification.from_pretrained(base), AutoTokenizer.from_pretrained(base)
train = bayespeft.TrainConfig(steps=10, lr=1e-2)
posterior = bayespeft.fit(model, rows, tokenizer=tokenizer, train=train, progress=False)
report = posterior.report(rows, name="sentences", resamples=20)
said = posterior.push_to_hub(repo, report=report, private=True)
again = bayespeft.from_pretrained(repo, model, tokenizer=tokenizer)
named = bayespeft.from_pretrained(repo, base, device="cpu")
probs = [p.predict(rows).probs.tolist() for p in (posterior, again, named)]
missing = []
for name in ("me/nothing", "no name at all"):
    try:
        bayespeft.from_pretrained(name, model)
    except bayespeft.errors.CheckpointError as error:
        missing.append(str(error).splitlines()[0][:200])
print(json.dumps({"said": said, "probs": probs, "accuracy": report.metrics["accuracy"].value, "missing": missing}))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_is_pushed_is_fetched_and_predicts_the_same(hub, bert, tokenizer, sentences, tmp_path):
    with quiet():
        bert.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    place = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_none", "HF_HUB_OFFLINE": "0"}
    quietly = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "base"), json.dumps(sentences), REPO],
        env={**os.environ, **place, **quietly}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["said"].startswith(f"{hub.url}/{REPO}/commit/")
    assert found["probs"][0] == found["probs"][1] == found["probs"][2]
    assert hub.private[REPO] in (True, "private")
    assert {"README.md", "posterior.json", "posterior.safetensors"} <= set(hub.files[REPO])
    assert "'me/nothing' is neither a directory here nor a repository" in found["missing"][0]
    assert "'no name at all' is neither" in found["missing"][1]
    card = ModelCard(hub.files[REPO]["README.md"].decode())
    assert card.data.library_name == "bayespeft"
    assert card.data.pipeline_tag == "text-classification"
    metrics = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert metrics["accuracy"] == pytest.approx(found["accuracy"])
    assert {"nll", "ece", "brier"} <= set(metrics)


def test_a_card_says_what_the_report_does_and_quotes_no_row(bert, tokenizer, sentences):
    posterior = bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=TrainConfig(steps=2), progress=False)
    report = posterior.report(sentences, resamples=20, quotes=5)
    text = model_card("me/x", "owner/base", {"Method": "Me-LoRA"}, "sequence_classification", report)
    assert report.headline in text
    assert "| Method | Me-LoRA |" in text
    assert 'bayespeft.from_pretrained("me/x")' in text
    assert ModelCard(text).data.base_model == "owner/base"
    assert not any(row["text"] in text for row in sentences)
    plain: Any = ModelCard(model_card("me/x", os.getcwd(), {}, "regression", None)).data
    assert plain.base_model is None
    assert plain.pipeline_tag is None


class Unreachable(Exception):
    """What a transport raises that finds no network: a class of its own, and no OSError."""


def test_a_hub_that_is_not_reached_is_our_error_whatever_carries_the_call(bert, tokenizer, sentences, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise Unreachable("name or service not known")

    monkeypatch.setattr(hub_module.HfApi, "create_repo", refuse)
    monkeypatch.setattr(hub_module, "snapshot_download", refuse)
    posterior = bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=TrainConfig(steps=1), progress=False)
    with pytest.raises(CheckpointError, match="can't be pushed to the hub: name or service not known"):
        posterior.push_to_hub("someone/something")
    with pytest.raises(CheckpointError, match="fetched from the hub: name or service not known"):
        hub_module.fetch("someone/something", None, None)
