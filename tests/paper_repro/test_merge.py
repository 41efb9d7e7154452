"""Measurements of another machine come into the results file once; a job of a pool ends when its time is over."""

from __future__ import annotations

import json
import sys
import types

import pytest

pytest.importorskip("paper_repro.tables", reason="the measurements are only in the repository")
from paper_repro import results
from paper_repro.gpu import worker
from paper_repro.merge import FIELDS, merge


def record(**values):
    return json.dumps({**dict.fromkeys(FIELDS, "x"), **values})


def test_an_equal_record_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FILE", tmp_path / "results.jsonl")
    assert merge([record(nll=0.5), record(nll=0.6), record(nll=0.5)]) == (2, 1)
    assert merge([record(nll=0.6), record(nll=0.7)]) == (1, 1)
    lines = results.FILE.read_text().splitlines()
    assert [json.loads(line)["nll"] for line in lines] == [0.5, 0.6, 0.7]


@pytest.mark.parametrize("broken", ['{"experiment": "step"', '{"nll": 1}', "[]"])
def test_what_is_no_measurement_stops_all(tmp_path, monkeypatch, broken):
    monkeypatch.setattr(results, "FILE", tmp_path / "results.jsonl")
    with pytest.raises(ValueError, match="line 2"):
        merge([record(), broken])
    assert not results.FILE.exists()


def test_a_job_ends_when_its_time_is_over(monkeypatch):
    seen = []

    def endless():
        seen.extend(sys.argv[1:])
        while True:
            pass

    monkeypatch.setitem(sys.modules, "endless", types.SimpleNamespace(main=endless, __file__="endless.py"))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    with pytest.raises(TimeoutError):
        worker.run("endless", ["--rows", "3"], 0.2)
    assert seen == ["--rows", "3"]
