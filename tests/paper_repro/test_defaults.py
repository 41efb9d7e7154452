"""Tables of the default call compare methods over the same rows."""

from __future__ import annotations

import pytest

tables = pytest.importorskip("paper_repro.defaults.tables", reason="the measurements are only in the repository")
choice = pytest.importorskip("paper_repro.defaults.choice", reason="the measurements are only in the repository")


def record(method, seed, nll, machine="x86_64 CPU", seconds=1.0):
    return {
        "task": "sst2", "n": 100, "seed": seed, "method": method, "accuracy": 0.5, "nll": nll, "ece": 0.1, "ece_noise": 0.1,
        "temperature": 1.0, "steps": 10, "search_steps": 0, "fit_seconds": seconds,
        "predict_seconds": seconds, "machine": machine, "date": "2026-01-01", "max_length": 32, "test_rows": 10,
    }  # fmt: skip


def test_means_are_over_the_seeds_that_all_methods_have(monkeypatch):
    runs = [record("mle", 0, 0.5), record("mle", 1, 0.9), record("melora", 0, 0.4)]
    monkeypatch.setattr(tables, "newest", lambda part="report": runs)
    *_, mle, melora = tables.defaults().splitlines()
    assert mle.startswith("| SST-2 | 100 | 1 | `mle` | 50.0 | 0.500 |")
    assert melora.startswith("| SST-2 | 100 | 1 | `melora` | 50.0 | 0.400 |")


def test_seconds_of_two_machines_are_never_compared(monkeypatch):
    runs = [
        record("mle", 0, 0.5), record("melora", 0, 0.4, "NVIDIA H200", 9.0),
        record("mle", 1, 0.5), record("melora", 1, 0.4, seconds=3.0),
    ]  # fmt: skip
    monkeypatch.setattr(tables, "newest", lambda part="report": runs)
    monkeypatch.setattr(choice, "newest_defaults", lambda: runs)
    *_, mle, melora = tables.defaults().splitlines()
    assert mle.endswith("| 1 (CPU) | 2026-01-01 |")
    assert melora.endswith("| 6 (CPU, GPU) | 2026-01-01 |")
    assert [line[-12:] for line in choice.by_size().splitlines()[2:4]] == ["| 1 | 1.00 |", "| 3 | 3.00 |"]
    assert "`mle` (1 s)" in choice.short()
    runs[3]["machine"] = "NVIDIA H200"
    assert all(line.endswith("| - | - |") for line in choice.by_size().splitlines()[2:4])
    assert choice.short().splitlines()[2].endswith("| - |")
