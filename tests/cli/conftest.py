"""Fixtures of this room."""

from __future__ import annotations

import json

import pytest

from bayespeft.pretrained.base import quiet
from tests.cli.running import QUICK, ok


@pytest.fixture
def network(bert, tokenizer, tmp_path):
    """A folder with a tiny encoder."""
    with quiet():
        bert.save_pretrained(tmp_path / "network")
    tokenizer.save_pretrained(tmp_path / "network")
    return tmp_path / "network"


@pytest.fixture
def data(sentences, tmp_path):
    """A folder of JSON lines with the splits train, validation and test."""
    folder = tmp_path / "data" / "sentences"
    folder.mkdir(parents=True)
    for split, rows in (("train", sentences), ("validation", sentences[:4]), ("test", sentences[:10])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def fitted(network, data, tmp_path):
    ok("fit", network, data, "--out", tmp_path / "out", *QUICK)
    return tmp_path / "out"
