"""Rows of a file, of any size, are predicted as `posterior.predict` does, and written one by one."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import bayespeft
from bayespeft.cli import predict
from bayespeft.pretrained.base import quiet
from tests.cli.running import bp, ok, refused


@pytest.fixture
def posterior(bert, tokenizer, sentences, tmp_path):
    """A posterior over a tiny encoder whose classes have names, saved as the network is."""
    bert.config.id2label, bert.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    with quiet():
        bert.save_pretrained(tmp_path / "network")
    tokenizer.save_pretrained(tmp_path / "network")
    train = bayespeft.TrainConfig(steps=30, lr=1e-2)
    found = bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=train, progress=False)
    found.save(tmp_path / "run")
    return found


@pytest.fixture
def place(tmp_path, posterior):
    """The arguments that name the posterior and its network."""
    return tmp_path / "run", tmp_path / "network"


def table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def test_each_row_has_what_predict_says_of_it(place, posterior, sentences, tmp_path, monkeypatch):
    """Read in three parts, which changes nothing: a draw is one function for all."""
    monkeypatch.setattr(predict, "CHUNK", 10)
    rows = [{"id": f"a, {i}", "text": row["text"]} for i, row in enumerate(sentences)]
    said = ok("predict", *place, table(tmp_path / "in.csv", rows), "--out", tmp_path / "out.csv", "--draws", 6)
    assert "24 rows" in said.stdout
    expected, found = posterior.predict(sentences, draws=6), read(tmp_path / "out.csv")
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert [row["predicted"] for row in found] == [["bad", "good"][k] for k in expected.probs.argmax(1)]
    for name, values in (
        ("probability", expected.probs.max(1).values),
        ("prob_good", expected.probs[:, 1]),
        ("entropy", expected.entropy),
        ("mutual_information", expected.mutual_information),
    ):
        np.testing.assert_allclose([float(row[name]) for row in found], values, rtol=2e-5, atol=1e-7)


def test_each_row_gets_as_many_draws_as_its_decision_needs(place, posterior, sentences, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "CHUNK", 10)
    rows = [{"text": row["text"]} for row in sentences]
    ok("predict", *place, table(tmp_path / "in.csv", rows), "--out", tmp_path / "out.csv", "--draws", "decision")
    expected, found = posterior.predict(sentences, draws="decision"), read(tmp_path / "out.csv")
    assert [float(row["probability"]) for row in found] == pytest.approx(
        expected.probs.max(1).values.tolist(), rel=1e-4
    )
    assert expected.draws_each.max() <= 32
    failed = bp("predict", *place, tmp_path / "in.csv", "--out", tmp_path / "out.csv", "--draws", "few")
    assert failed.exit_code == 2
    assert "'decision'" in failed.output


def test_memory_holds_one_part_of_the_rows(place, tmp_path, monkeypatch):
    held, original = [], bayespeft.Posterior.predict

    def counted(self, data, *args, **kwargs):
        held.append(data.count)
        return original(self, data, *args, **kwargs)

    monkeypatch.setattr(bayespeft.Posterior, "predict", counted)
    rows = [{"text": "the cat is good"}] * (2 * predict.CHUNK + 5)
    ok(
        "predict",
        *place,
        table(tmp_path / "in.csv", rows),
        "--out",
        tmp_path / "out.csv",
        "--draws",
        1,
        "--batch-size",
        512,
    )
    assert held == [predict.CHUNK, predict.CHUNK, 5]
    assert len(read(tmp_path / "out.csv")) == len(rows)


def test_columns_have_other_names_and_labels_stay_as_they_are(place, posterior, sentences, tmp_path):
    rows = [{"sentence": row["text"], "label": "unheard of"} for row in sentences]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("--out", tmp_path / "out.tsv", "--columns", "text=sentence", "--draws", 0)
    ok("predict", *place, tmp_path / "in.jsonl", *arguments)
    found = read(tmp_path / "out.tsv")
    assert {row["label"] for row in found} == {"unheard of"}
    assert {row["mutual_information"] for row in found} == {""}
    probs = posterior.predict(sentences, draws=0).probs[:, 1]
    np.testing.assert_allclose([float(row["prob_good"]) for row in found], probs, rtol=2e-5)


def test_validation_rows_add_decisions_and_sets(place, posterior, sentences, tmp_path):
    many = [*sentences, *sentences]
    known = table(tmp_path / "known.csv", [{"text": r["text"], "label": ["bad", "good"][r["label"]]} for r in many])
    new = table(tmp_path / "new.csv", [{"text": row["text"]} for row in sentences])
    promised = ("--validation", known, "--alpha", 0.2, "--risk", 0.3)
    ok("predict", *place, new, "--out", tmp_path / "out.csv", *promised, "--draws", 4)
    found = read(tmp_path / "out.csv")
    decision = posterior.decide(sentences, 0.3, validation=many, draws=4)
    assert [row["decision"] for row in found] == [["bad", "good", ""][k] for k in decision.answer]
    sets = posterior.conformal(many, 0.2, draws=4).sets(sentences)
    assert [row["set"] for row in found] == ["|".join(np.array(["bad", "good"])[row]) for row in sets]


def test_classes_that_were_weighed_are_led_back(bert, tokenizer, sentences, tmp_path):
    with quiet():
        bert.save_pretrained(tmp_path / "network")
    tokenizer.save_pretrained(tmp_path / "network")
    settings = {"tokenizer": tokenizer, "train": bayespeft.TrainConfig(steps=2), "progress": False}
    found = bayespeft.fit(bert, sentences, "mle", class_weight=[0.5, 1.5], **settings)
    found.save(tmp_path / "run")
    new = table(tmp_path / "new.csv", [{"text": row["text"], "label": row["label"]} for row in sentences])
    place = tmp_path / "run", tmp_path / "network", new
    corrected = found.with_prior_correction()
    for options, expected in (((), found), (("--prior-correction",), corrected)):
        ok("predict", *place, "--out", tmp_path / "out.csv", "--draws", 0, *options)
        probs = [float(row["prob_1"]) for row in read(tmp_path / "out.csv")]
        np.testing.assert_allclose(probs, expected.predict(sentences, draws=0).probs[:, 1], rtol=2e-5)
    ok("report", *place, "--split", "train", "--draws", 0, "--prior-correction", "--json", tmp_path / "report.json")
    nll = json.loads((tmp_path / "report.json").read_text())["nll"]["value"]
    assert nll == pytest.approx(float(-corrected.predict(sentences, draws=0).log_likelihood.mean()))


def test_what_was_written_can_be_evaluated(place, sentences, tmp_path):
    rows = [{"text": row["text"], "label": row["label"]} for row in sentences]
    ok("predict", *place, table(tmp_path / "in.csv", rows), "--out", tmp_path / "out.csv", "--draws", 2)
    assert "Accuracy" in ok("evaluate", tmp_path / "out.csv").stdout


def test_bad_rows_and_places_are_told_and_leave_nothing(place, tmp_path, mlp, xy, monkeypatch):
    out = tmp_path / "out.csv"
    good = table(tmp_path / "in.csv", [{"text": "the cat"}])
    assert ".csv or .tsv is written" in refused("predict", *place, good, "--out", tmp_path / "out.xlsx")
    assert (
        "'sentence', which the rows lack"
        in bp("predict", *place, good, "--out", out, "--columns", "text=sentence").stderr
    )
    assert "OURS=THEIRS" in refused("predict", *place, good, "--out", out, "--columns", "text")
    for path, words in ((tmp_path / "in.xlsx", "one by one"), (tmp_path / "no.csv", "no file")):
        assert words in refused("predict", *place, path, "--out", out)
    own = table(tmp_path / "own.csv", [{"text": "the cat", "entropy": 1}])
    assert "column 'entropy', which is written here" in refused("predict", *place, own, "--out", out)
    monkeypatch.setattr(predict, "CHUNK", 2)
    lines = tmp_path / "in.jsonl"
    lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("the cat", "the dog", "the cat", 3)))
    result = bp("predict", *place, lines, "--out", out)
    assert result.exit_code == 2
    assert "rows from 2 on" in result.stderr
    assert not out.exists()
    assert not list(tmp_path.glob(".*.tmp"))
    for last, words in (({"text": "a", "id": 1}, "has 'id'"), ({"note": 1}, "has 'note' and lacks 'text'")):
        lines.write_text("".join(json.dumps(row) + "\n" for row in ({"text": "the cat"}, {"text": "the dog"}, last)))
        told = " ".join(bp("predict", *place, lines, "--out", out).stderr.split())
        assert f"row 2, counted from 0, {words}, unlike the first row" in told
        assert not out.exists()
    quantities = bayespeft.fit(
        mlp, (xy[0], torch.randn(len(xy[0]), 3)), likelihood="regression", targets="all-linear",
        train=bayespeft.TrainConfig(steps=1), progress=False,
    )  # fmt: skip
    monkeypatch.setattr(predict, "from_pretrained", lambda *_, **__: quantities)
    assert "posterior.predict(rows) in Python" in refused("predict", *place, good, "--out", out)
