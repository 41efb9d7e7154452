"""Probabilities in a file are measured as those of a posterior are, whatever wrote them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import bayespeft
from bayespeft.report.calibration import CalibrationReport
from tests.cli.running import ok, refused

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(120, 3)) * 2
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
LABELS = [int(RNG.choice(3, p=p)) for p in PROBS]
NAMES = ["red", "green", "blue"]


@pytest.fixture
def file(tmp_path):
    def write(
        values=PROBS, columns=("prob_red", "prob_green", "prob_blue"), labels=None, name="a.csv", rows=slice(None)
    ):
        path = tmp_path / name
        labels = [NAMES[k] for k in LABELS] if labels is None else labels
        table = [
            {"text": f"row {i}", "label": label, **dict(zip(columns, map(float, row), strict=True))}
            for i, (label, row) in list(enumerate(zip(labels, values, strict=True)))[rows]
        ]
        if path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in table))
            return path
        with path.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.DictWriter(opened, table[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(table)
        return path

    return write


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_file_is_what_the_arrays_are(file, tmp_path, name):
    page, numbers = tmp_path / "page.html", tmp_path / "report.json"
    said = ok("evaluate", file(name=name), "--html", page, "--json", numbers).stdout
    assert "Accuracy" in said
    found = CalibrationReport.from_json(numbers)
    wanted = bayespeft.evaluate(PROBS, LABELS).report(quotes=0)
    assert found.metrics["nll"].value == pytest.approx(wanted.metrics["nll"].value, rel=1e-9)
    assert found.metrics["ece"].low == pytest.approx(wanted.metrics["ece"].low, rel=1e-6)
    text = page.read_text(encoding="utf-8")
    assert "green" in text
    assert "row 7" in text or "row 1" in text


def test_columns_and_logits_are_named(file, tmp_path):
    numbers = tmp_path / "report.json"
    path = file(LOGITS, ("x", "y", "z"), LABELS)
    ok("evaluate", path, "--probs", "x,y,z", "--label", "label", "--logits", "--json", numbers)
    first = CalibrationReport.from_json(numbers).metrics["nll"].value
    ok("evaluate", file(LOGITS, ("logit_0", "logit_1", "logit_2"), LABELS), "--logits", "--json", numbers)
    second = CalibrationReport.from_json(numbers).metrics["nll"].value
    assert first == second == pytest.approx(-np.log(PROBS[np.arange(120), LABELS]).mean())


def test_validation_rows_make_decisions_and_sets(file):
    known, new = file(rows=slice(60), name="known.csv"), file(rows=slice(60, None), name="new.csv")
    said = ok("evaluate", new, "--validation", known, "--alpha", 0.2, "--risk", 0.3).stdout
    assert "promised: 80 %, fitted on 60" in said
    assert "validation" in said
    sets = bayespeft.evaluate(PROBS[:60], LABELS[:60]).conformal(0.2)
    assert f"{100 * sets.report(bayespeft.evaluate(PROBS[60:], LABELS[60:])).coverage.value:.1f} %" in said


def test_labels_that_are_numbers_are_names_where_names_are_numbers_whichever_occur(file, tmp_path):
    numbers = tmp_path / "report.json"
    ones, kept = [k + 1 for k in LABELS], np.array([k > 0 for k in LABELS])
    path = file(columns=("prob_1", "prob_2", "prob_3"), labels=ones)
    wanted = bayespeft.evaluate(PROBS, LABELS).report(quotes=0, resamples=10).metrics["nll"].value
    ok("evaluate", path, "--json", numbers)
    assert CalibrationReport.from_json(numbers).metrics["nll"].value == pytest.approx(wanted)
    told = refused("evaluate", file(columns=("prob_1", "prob_2", "prob_3"), labels=LABELS))
    assert "label 0 is none of the classes" in told
    columns, table = ("prob_3", "prob_2", "prob_1"), PROBS[kept][:, ::-1]
    ok("evaluate", file(table, columns, np.array(ones)[kept].tolist()), "--json", numbers)
    found = CalibrationReport.from_json(numbers).metrics["nll"].value
    assert found == pytest.approx(-np.log(PROBS[kept][np.arange(kept.sum()), np.array(LABELS)[kept]]).mean())


def test_validation_rows_have_their_classes_in_any_order(file):
    known, new = file(rows=slice(60), name="known.csv"), file(rows=slice(60, None), name="new.csv")
    other = file(PROBS[:, ::-1], ("prob_blue", "prob_green", "prob_red"), rows=slice(60), name="other.csv")
    assert ok("evaluate", new, "--validation", known).stdout == ok("evaluate", new, "--validation", other).stdout
    strange = file(columns=("prob_red", "prob_green", "prob_pink"), labels=["red"] * 120, name="strange.csv")
    assert "'pink'" in refused("evaluate", new, "--validation", strange)


def test_what_can_not_be_read_is_told(file, tmp_path):
    assert "no column begins with prob_" in refused("evaluate", file(columns=("x", "y", "z")))
    assert "no column 'w'" in refused("evaluate", file(), "--probs", "prob_red,w")
    assert "logits=True" in refused("evaluate", file(LOGITS))
    assert "'pink' is none of the classes" in refused("evaluate", file(labels=["pink"] * 120))
    assert "there is no file" in refused("evaluate", tmp_path / "nothing.csv")
    path = tmp_path / "broken.csv"
    for content, words in (
        ("", "has no rows"),
        ("label,prob_0,prob_1\n", "has no rows"),
        ("label,prob_0,prob_1\n0,1,0\n1,0.5\n", "line 3: there are not 3 cells"),
        ("label,prob_0,prob_0\n0,1,0\n", "needs a name of its own"),
        ("label,prob_0,prob_1\n0,1,x\n", "row 0: column 'prob_1' has 'x'"),
        ("gold,prob_0,prob_1\n0,1,0\n", "pass --label"),
    ):
        path.write_text(content)
        assert words in refused("evaluate", path)
    lines = tmp_path / "broken.jsonl"
    for content, words in (("[1]\n", "JSON object is expected"), ("{\n", "line 1")):
        lines.write_text(content)
        assert words in refused("evaluate", lines)
