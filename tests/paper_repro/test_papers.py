"""Each paper's folder: its description names what is there, its trial runs, and what a rerun must meet follows from records."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import bayespeft

pytest.importorskip("paper_repro.tables", reason="the measurements are only in the repository")
from paper_repro import expected, full_size, results, run, tables
from paper_repro.paper import Experiment
from paper_repro.papers import CLAIMS, PAPERS

ROOT = Path(__file__).parents[2]
NAMES = list(PAPERS)


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_runs_all_of_a_paper_on_tiny_networks_and_keeps_nothing(name, capsys, monkeypatch):
    home = results.FILE.read_bytes()
    monkeypatch.setattr("sys.argv", ["run", name, "--scale", "smoke"])
    run.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if ": no range" in line or "expected" in line]
    tried = [e for e in PAPERS[name].experiments if e.trial is not None]
    assert {line.split(" ")[0] for line in lines} == {e.name for e in tried if e.measures}
    assert results.FILE.read_bytes() == home
    assert results.FILE == results.HOME


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_of_a_paper_takes_a_step(name, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run", name, "--scale", "paper"])
    run.main()
    assert re.search(r"layers, [\d,]+ trained numbers", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "per_projection"),
    [
        ("laplace_lora", 8 * (4096 + 4096)),
        ("melora", 8 * (4096 + 4096) + 2 * 8 * 8),
        ("blob", 8 * (4096 + 2 * 4096)),
        ("scalabl_tfb", 8 * (4096 + 4096) + 2 * 8),
    ],
)
def test_numbers_at_full_size_are_those_of_the_formulas(name, per_projection):
    """Query and value projections of 32 blocks, rank 8: r (m + n), and what is latent twice."""
    assert full_size.trained(PAPERS[name].full) == (64, 64 * per_projection)


def test_descriptions_name_what_is_there():
    for paper in PAPERS.values():
        assert set(paper.methods) <= set(bayespeft.methods())
        for experiment in paper.experiments:
            assert callable(importlib.import_module(experiment.module).main)
            assert not experiment.section or f"results: {experiment.section}" in tables.SECTIONS
        page = (ROOT / "paper_repro" / paper.name / "README.md").read_text(encoding="utf-8")
        for part in ("paper", "full size", "expected"):
            assert f"<!-- {part}: {paper.name} -->" in page
    assert len({(claim.paper, claim.says) for claim in CLAIMS}) == len(CLAIMS)


def test_one_more_value_lies_in_its_interval_as_often_as_stated():
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(4000, 4))
    inside = [low <= row[3] <= high for row in draws for low, high in [expected.interval(row[:3].tolist())]]
    assert np.mean(inside) == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 4000))


def record(seed, value, **more):
    return {"task": "sst2", "method": "mle", "seed": seed, "accuracy": value, "settings": {"lr": 1}, **more}


EXPERIMENT = Experiment("e", "m", "shows", ("mle",), measures=("accuracy",))


def test_a_new_seed_is_judged_by_those_before():
    known = [record(seed, 0.8 + seed / 100) for seed in range(3)]
    [low, high] = expected.interval([0.80, 0.81, 0.82])
    found = expected.verdicts(
        EXPERIMENT, known, [record(3, high - 1e-6), record(4, high + 1e-6), record(5, low - 1e-6)]
    )
    assert [line.rsplit(": ", 1)[1] for line in found] == ["met", "not met", "not met"]
    assert "changed since" in expected.verdicts(EXPERIMENT, known, [record(3, 0.81, settings={"lr": 2})])[0]


def test_two_seeds_or_another_case_make_no_range():
    known = [record(seed, 0.8) for seed in (0, 1, 1)]
    assert expected.ranges(EXPERIMENT, known) == []
    known.append(record(2, 0.8))
    assert len(expected.ranges(EXPERIMENT, known)) == 1
    assert "no range" in expected.verdicts(EXPERIMENT, known, [record(3, 0.8, limit=9)])[0]
    assert expected.ranges(EXPERIMENT, [record(s, 0.8, method="other") for s in range(3)]) == []
