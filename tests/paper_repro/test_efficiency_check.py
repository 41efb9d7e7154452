"""The newest record of each case against the one before."""

from __future__ import annotations

import json
import sys

import pytest

from paper_repro import results
from paper_repro.efficiency import check

STEP = {"experiment": "step", "model": "minilm", "method": "melora", "machine": "one"}


def test_cases_are_compared_with_their_own_last_record_by_ratio() -> None:
    records = [
        {**STEP, "ratio": 2.0},
        {**STEP, "ratio": 1.0},
        {**STEP, "ratio": 1.2, "ms": 5},
        {**STEP, "machine": "another", "ratio": 9.0},
        {**STEP, "method": "blob", "ratio": 3.0},
        {**STEP, "method": "blob", "ratio": 1.5},
    ]
    found = {dict(change.case)["method"]: change for change in check.changes("step", records)}
    assert (found["melora"].before, found["melora"].now) == (1.0, 1.2)
    assert found["melora"].ratio == pytest.approx(1.2)
    assert found["blob"].ratio == pytest.approx(0.5)


@pytest.mark.parametrize(("last", "code"), [(1.05, 0), (1.2, 1)])
def test_it_ends_with_1_if_a_figure_rose(tmp_path, monkeypatch, capsys, last: float, code: int) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text("\n".join(json.dumps({**STEP, "ratio": ratio}) for ratio in (1.0, last)))
    monkeypatch.setattr(results, "FILE", file)
    monkeypatch.setattr(sys, "argv", ["check"])
    assert check.main() == code
    out = capsys.readouterr().out
    assert ("x 1.20" in out) == bool(code)
    assert f"{code} of 1 figures" in out


def test_every_figure_is_one_that_its_experiment_records() -> None:
    for experiment, figures in check.FIGURES.items():
        for record in results.read(experiment)[-1:]:
            assert any(figure in record for figure in figures), experiment
