"""The file of results: whole lines from any number of writers, killed or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from filelock import FileLock, Timeout

from bayespeft.compare import Comparison
from bayespeft.compare.results import Results, _digest
from bayespeft.compare.study import key
from bayespeft.errors import DataError, FileError
from tests.compare.conftest import lines, made_up


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "deep" / "runs")


def test_runs_are_read_as_they_were_written(results):
    assert results.read() == {}
    first, second = made_up("a", 0), made_up("a", 1)
    results.append(first)
    results.append(second)
    assert list(results.read().values()) == [first, second]
    newer = {**first, "device": "cuda:0"}
    results.append(newer)
    assert results.read()[key(first)] == newer


def test_a_full_disk_is_told_and_leaves_the_runs_before(results, monkeypatch):
    results.append(made_up("a", 0))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (lambda: results.append(made_up("a", 1)), lambda: results.add([made_up("b")])):
        with pytest.raises(FileError, match=r"results.jsonl' can't be written: No space left on device\. .*make room"):
            write()
    monkeypatch.undo()
    assert key(made_up("a", 0)) in results.read()


def signed(run):
    """Return a line whose digest fits, whatever it says."""
    return json.dumps({**run, "sha256": _digest(run)})


@pytest.mark.parametrize("torn", [1, 200, -2, -1])
def test_a_torn_line_is_neither_read_nor_kept(results, torn):
    runs = [made_up("a", seed) for seed in range(3)]
    results.append(runs[0])
    whole = results.path.read_bytes()
    results.append(runs[1])
    results.path.write_bytes(whole + results.path.read_bytes()[len(whole) :][:torn])
    assert list(results.read().values()) == [runs[0]]
    results.append(runs[2])
    assert lines(results.folder) == [runs[0], runs[2]]


def test_a_file_that_is_one_torn_line(results):
    results.folder.mkdir(parents=True)
    results.path.write_text("{" + "x" * 200_000)  # longer than one look backwards
    assert results.read() == {}
    results.append(made_up("a"))
    assert lines(results.folder) == [made_up("a")]


WRITER = """
import json, sys
from pathlib import Path
from bayespeft.compare.results import Results, _digest
run, results = json.loads(sys.stdin.read()), Results(Path(sys.argv[1]))
print("ready", flush=True)
for seed in range(int(sys.argv[2]), int(sys.argv[3])):
    results.append({**run, "seed": seed})
"""


def writer(results, first, last):
    command = [sys.executable, "-c", WRITER, str(results.folder), str(first), str(last)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(json.dumps(made_up("a")).encode())
    process.stdin.close()
    return process


def test_several_processes_write_and_one_is_killed(results):
    steady, killed = writer(results, 0, 40), writer(results, 1000, 10**6)
    assert (steady.stdout.readline(), killed.stdout.readline()) == (b"ready\n", b"ready\n")
    assert steady.wait() == 0
    while not any(run["seed"] >= 1000 for run in results.read().values()):
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    for process in (steady, killed):
        process.stdout.close()
    results.append(made_up("a", 50))  # the lock died with its holder
    seeds = [run["seed"] for run in lines(results.folder)]  # every line is whole
    assert [seed for seed in seeds if seed < 1000] == [*range(40), 50]
    late = [seed for seed in seeds if seed >= 1000]
    assert late == list(range(1000, 1000 + len(late)))


def test_runs_without_scores_of_a_metric_are_read_shown_and_not_tested_by_it(results):
    """As those are that were made before it was registered."""
    old, new = made_up("a"), made_up("b")
    old["scores"].pop("brier")
    results.add([old, new])
    comparison = Comparison(tuple(results.read().values()))
    assert {row["metric"] for row in comparison.tests} == {"accuracy", "nll"}
    text = comparison.to_markdown()
    assert text.count(f"{old['report']['brier']['value']:.3f} ") == 2
    assert "Not tested where runs lack scores of single examples: Brier score" in text
    # One seed of several that lacks them: the means of the table are not those that a test would see.
    seeds = [made_up("a", 1), made_up("b", 1)]
    assert {row["metric"] for row in Comparison((old, new, *seeds)).tests} == {"accuracy", "nll"}
    assert {row["metric"] for row in Comparison(tuple(seeds)).tests} == {"accuracy", "nll", "brier"}
    assert "Not tested" not in Comparison(tuple(seeds)).to_markdown()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2"),
        ("[]", "line 2"),
        (json.dumps({**made_up("a"), "format": 99}), "format 99 is of another version"),
        (signed({**made_up("a"), "report": {}}), "calibration report"),
        (signed({**made_up("a"), "scores": {"nll": "!"}}), "scores of single examples"),
        (json.dumps({**made_up("a"), "history": {"x": 1}}), "line 2"),
    ],
)
def test_what_is_no_run_is_refused(results, line, message):
    results.append(made_up("a"))
    with open(results.path, "a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=message) as raised:
        results.read()
    assert "results.jsonl, line 2 is no file of results" in str(raised.value)


def test_a_newer_result_of_another_process_stays_unless_again(results):
    older, newer = made_up("a"), made_up("a", logits=np.ones(20))
    assert key(older) == key(newer)
    results.append(older)
    results.append(newer)  # as `again` does elsewhere, while this process holds the older one
    results.add([older])
    assert results.read()[key(older)] == newer
    results.add([older], again=True)
    assert results.read()[key(older)] == older
    assert len(lines(results.folder)) == 3


def test_adding_reads_under_the_lock(results, monkeypatch):
    held = []

    def read(self):
        try:
            with FileLock(self.folder / ".results.jsonl.lock", timeout=0):
                pass
        except Timeout:
            held.append(True)
        return {}

    monkeypatch.setattr(Results, "read", read)
    results.add([made_up("a")])
    assert held == [True]


def test_saving_adds_only_what_is_missing(results):
    results.add([made_up("a"), made_up("b")])
    results.add([made_up("a"), {**made_up("b"), "title": "another title"}, made_up("c")])
    assert [run["method"] for run in lines(results.folder)] == ["a", "b", "c"]
