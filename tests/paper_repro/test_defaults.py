"""Tables of the default call compare methods over the same rows."""

from __future__ import annotations

import pytest

tables = pytest.importorskip("paper_repro.defaults.tables", reason="the measurements are only in the repository")


def record(method, seed, nll):
    return {
        "task": "sst2", "n": 100, "seed": seed, "method": method, "accuracy": 0.5, "nll": nll, "ece": 0.1, "ece_noise": 0.1,
        "temperature": 1.0, "steps": 10, "search_steps": 0, "fit_seconds": 1.0,
    }  # fmt: skip


def test_means_are_over_the_seeds_that_all_methods_have(monkeypatch):
    runs = [record("mle", 0, 0.5), record("mle", 1, 0.9), record("melora", 0, 0.4)]
    monkeypatch.setattr(tables, "newest", lambda: runs)
    *_, mle, melora = tables.defaults().splitlines()
    assert mle.startswith("| SST-2 | 100 | 1 | `mle` | 50.0 | 0.500 |")
    assert melora.startswith("| SST-2 | 100 | 1 | `melora` | 50.0 | 0.400 |")
