"""A tiny network and data in folders, quick comparisons of them, and runs that are made up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bayespeft import TrainConfig
from bayespeft.compare import compare
from bayespeft.compare.results import FORMAT
from bayespeft.compare.scores import contributions, encode
from bayespeft.pretrained.base import quiet
from bayespeft.report.calibration import CalibrationReport

QUICK = TrainConfig(steps=2, batch_size=8)


@pytest.fixture
def network(bert, tokenizer, tmp_path):
    """A folder with a tiny encoder that has no head."""
    with quiet():
        bert.bert.save_pretrained(tmp_path / "network")
    tokenizer.save_pretrained(tmp_path / "network")
    return str(tmp_path / "network")


@pytest.fixture
def data(sentences, tmp_path):
    """A folder of JSON lines with the splits train and test."""
    (tmp_path / "data").mkdir()
    for split, rows in (("train", sentences), ("test", sentences[:10])):
        (tmp_path / "data" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "data")


@pytest.fixture
def quick(network, data):
    def run(methods=("mle", "melora"), seeds=(0, 1), data=data, **options):
        return compare(network, data, methods, seeds, **{"train": QUICK, "draws": 2, "progress": False, **options})

    return run


def lines(folder):
    """Runs in a file of results, one a line, without their digests."""
    found = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for run in found:
        assert len(run.pop("sha256")) == 64
    return found


def made_up(method, seed=0, *, data="made-up", title=None, logits=None, labels=None, tuned=None, **facts):
    """A run on two classes, as if it had been made; `facts` are of the report."""
    labels = np.arange(20) % 2 if labels is None else labels
    logits = np.linspace(-2, 2, len(labels)) if logits is None else logits
    log_probs = np.stack([-np.logaddexp(0, logits), -np.logaddexp(0, -logits)], 1)
    report = CalibrationReport.from_log_probs(log_probs, labels, resamples=20, trainable_parameters=1234, **facts)
    return {
        "format": FORMAT,
        "method": method,
        "title": title or method.upper(),
        "data": data,
        "seed": seed,
        "settings": {"model": "net", "data": data, "examples": 8, "draws": 4},
        "report": report.to_dict(),
        "history": {"records": [], "steps": 2, "seconds": 3.0},
        "scores": encode(contributions(log_probs, labels)),
        "device": "cpu",
        "versions": {},
        **({} if tuned is None else {"tuned": tuned.to_dict()}),
    }
