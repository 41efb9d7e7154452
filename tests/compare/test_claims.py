"""Comparisons that write into one folder share the runs, and an interrupted one goes on in the middle of a fit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from bayespeft import TrainConfig
from bayespeft.compare import engines
from bayespeft.compare.claims import claimed
from bayespeft.compare.engines import in_turn
from bayespeft.compare.results import Results
from bayespeft.errors import DataError
from tests.compare.conftest import lines, made_up


def test_a_run_is_one_process_at_a_time(tmp_path):
    code = (
        "import sys, time, pathlib; from bayespeft.compare.claims import claimed\n"
        "with claimed(pathlib.Path(sys.argv[1]), 'run') as place:\n    print(place, flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        place = other.stdout.readline().strip()
        assert os.path.isdir(place)
        with claimed(tmp_path, "run") as found:
            assert found is None
        with claimed(tmp_path, "another run") as found:
            assert found is not None
    finally:
        other.kill()
        other.communicate()
    with claimed(tmp_path, "run") as found:
        assert str(found) == place
    assert not os.path.exists(tmp_path / "states")


def test_states_stay_after_an_interrupt_and_go_after_an_error(tmp_path):
    def leave(error):
        with claimed(tmp_path, "run") as place:
            (place / "state").write_text("x")
            raise error
        return place

    with pytest.raises(KeyboardInterrupt):
        leave(KeyboardInterrupt())
    with claimed(tmp_path, "run") as place:
        assert (place / "state").exists()
    with pytest.raises(ZeroDivisionError):
        leave(ZeroDivisionError())
    assert not place.exists()


def test_what_another_process_makes_comes_last(monkeypatch):
    said, busy = [], {"a": 2, "c": 1}
    monkeypatch.setattr(engines, "POLL", 0.0)

    def attempt(job):
        busy[job] = busy.get(job, 0) - 1
        return None if busy[job] >= 0 else job.upper()

    done = []
    in_turn(["a", "b", "c"], SimpleNamespace(attempt=attempt, say=said.append), lambda job, found: done.append(found))
    assert done == ["B", "C", "A"]
    assert said == ["waiting for 2 that another process is making"]


def test_a_comparison_that_is_interrupted_goes_on_in_the_middle_of_its_fit(quick, tmp_path, monkeypatch, capsys):
    out, options = (
        tmp_path / "out",
        {"methods": ("melora",), "seeds": (0,), "train": TrainConfig(steps=6, batch_size=8)},
    )
    wanted = quick(**options)
    step, count = torch.optim.AdamW.step, iter(range(100))

    def interrupted(self, *args, **kwargs):
        if next(count) == 3:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick(out=out, **options)
    assert "Stopped after step 4 of 6" in capsys.readouterr().err
    assert len(list((out / "states").rglob("*.pt"))) == 1
    taken = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a, **k: taken.append(1) or step(self, *a, **k))
    found = quick(out=out, **options)
    assert len(taken) == 2
    assert not (out / "states").exists()
    assert found.runs[0]["scores"] == wanted.runs[0]["scores"]
    assert len(lines(out)) == 1


def test_a_line_that_was_changed_is_no_result(tmp_path):
    results = Results(tmp_path)
    results.append(made_up("a"))
    line = json.loads(results.path.read_text())
    results.read()
    for change in ({"device": "other"}, {"sha256": "0" * 64}, {"sha256": None}, {"seed": 3}):
        results.path.write_text(json.dumps({**line, **change}) + "\n")
        with pytest.raises(DataError, match=r"line 1 is no file of results .*not what was written"):
            results.read()
    results.path.write_text("[" * 100_000 + "\n")
    with pytest.raises(DataError, match="line 1 is no file of results"):
        results.read()
