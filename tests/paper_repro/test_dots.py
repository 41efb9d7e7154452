"""Pictures of papers show the records that their tables show, and each folder has those that its description names."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("paper_repro.tables", reason="the measurements are only in the repository")
pytest.importorskip("matplotlib", reason="it draws them")
from paper_repro import dots
from paper_repro.papers import PAPERS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", list(PAPERS))
def test_a_folder_has_and_shows_the_pictures_that_its_description_names(name):
    folder = ROOT / "paper_repro" / name
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert PAPERS[name].figures
    for figure in PAPERS[name].figures:
        assert (folder / figure).read_bytes().startswith(b"\x89PNG")
        assert f"]({figure})" in page


def test_dots_are_the_records_and_their_means():
    records = [
        {"method": "mle", "task": "sst2", "accuracy": 0.5, "nll": 1.0, "ece": 0.1},
        {"method": "mle", "task": "sst2", "accuracy": 0.7, "nll": 2.0, "ece": 0.2},
        {"method": "melora", "task": "mrpc", "accuracy": 0.9, "nll": 0.5, "ece": 0.0},
    ]
    accuracy, nll, ece = dots.draw(records, ["melora", "absent", "mle"], ["sst2", "mrpc"]).axes
    assert [label.get_text() for label in accuracy.get_yticklabels()] == ["melora", "mle"]
    drawn = {tuple(float(x) for x in line.get_xdata()) for line in accuracy.lines}
    assert drawn == {(50.0, 70.0), (60.0,), (90.0,)}
    assert {len(axis.lines) for axis in (accuracy, nll, ece)} == {4}
    # A line is drawn where its method is named: the second one from the top is the last method.
    assert all(round(float(line.get_ydata()[0])) == 1 for line in accuracy.lines if len(line.get_xdata()) == 2)


def test_only_records_of_the_experiment_are_shown():
    (posteriors,) = (e for e in PAPERS["blob"].experiments if e.name == "posteriors")
    shown = dots.shown(posteriors)
    assert {r["method"] for r in shown} == set(posteriors.methods)
    assert {r["task"] for r in shown} == set(posteriors.tasks)
    assert {r["model"] for r in shown} == {"minilm"}
