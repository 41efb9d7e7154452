"""`bayespeft fit`: what it writes, says and goes on from."""

from __future__ import annotations

import json
import signal

import pytest
import torch

import bayespeft
from bayespeft.config import Targets
from bayespeft.pretrained.base import quiet
from bayespeft.report.calibration import CalibrationReport
from bayespeft.task import Task
from tests.cli.running import QUICK, bp, ok, refused


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_fit_ends_as_shells_expect_and_goes_on(network, data, tmp_path, monkeypatch, number, code):
    out, step, count = tmp_path / "out", torch.optim.AdamW.step, iter(range(100))
    command = ("fit", network, data, "--out", out, "--steps", "5", "--batch-size", "8")

    def interrupted(self, *args, **kwargs):
        if next(count) == 2:
            signal.raise_signal(number)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    stopped = bp(*command)
    assert stopped.exit_code == code
    assert "Stopped after step 3 of 5; the state is in" in stopped.stderr
    assert not out.exists()
    taken = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a, **k: taken.append(1) or step(self, *a, **k))
    ok(*command)
    assert len(taken) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == ["out"]
    ok("fit", network, data, "--out", tmp_path / "whole", "--steps", "5", "--batch-size", "8")
    assert (out / "posterior.safetensors").read_bytes() == (tmp_path / "whole" / "posterior.safetensors").read_bytes()


def test_fit_then_report(network, data, fitted, tmp_path):
    assert sorted(path.name for path in fitted.iterdir()) == ["posterior.json", "posterior.safetensors"]
    numbers, plot = tmp_path / "report.json", tmp_path / "report.png"
    named = ok("report", fitted, network, data, "--draws", 3, "--json", numbers, "--plot", plot)
    assert "Accuracy" in named.stdout
    assert f"{data} test, Me-LoRA" in named.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    report = CalibrationReport.from_json(numbers)
    assert (report.n, report.draws) == (10, 3)
    # The posterior knows its network: the same numbers without naming it, but for times and memory.
    ok("report", fitted, data, "--draws", 3, "--json", numbers)
    assert CalibrationReport.from_json(numbers).nll == report.nll
    page, table = tmp_path / "report.html", tmp_path / "report.csv"
    said = ok("report", fitted, data, "--draws", 3, "--html", page, "--csv", table).stdout
    assert f"Page: {page}" in said
    assert f"Numbers: {table}" in said
    assert report.headline.partition(" (")[0][1:] in page.read_text(encoding="utf-8")
    assert f"nll,{report.nll.value}" in table.read_text(encoding="utf-8")
    few = ok("report", fitted, "sentences", "--data-dir", data.parent, "--split", "train", "--limit", 5)
    assert "5 in 2 classes" in few.stdout


def test_fit_says_what_came_out(network, data, tmp_path):
    result = ok("fit", network, data, "--method", "mle", "--out", tmp_path / "mle", *QUICK)
    assert "MLE (LoRA)" in result.stdout
    assert f"The posterior is in {tmp_path / 'mle'}" in result.stdout
    assert "NLL" in result.stderr
    assert "2/2" in result.stderr


def test_a_posterior_is_replaced_only_if_asked(fitted, network, data):
    before = (fitted / "posterior.safetensors").read_bytes()
    arguments = ("fit", network, data, "--out", fitted, "--seed", 1, *QUICK)
    assert "holds a posterior already: choose another --out, or replace it with --overwrite" in refused(*arguments)
    assert (fitted / "posterior.safetensors").read_bytes() == before
    ok(*arguments, "--overwrite")
    assert (fitted / "posterior.safetensors").read_bytes() != before


@pytest.mark.filterwarnings("ignore:.* texts are longer")  # as they are meant to be
def test_fit_is_what_python_does(network, data, sentences, tmp_path):
    settings = ["--lr", "0.01", "--kl-weight", "0.5", "--targets", "query,dense", "--layers", "1", "--seed", "3"]
    settings += ["--exclude", r".*\.output\.dense"]
    ok("fit", network, data, "--out", tmp_path / "a", "--limit", 16, "--max-length", 6, *settings, *QUICK)
    model, tokenizer = bayespeft.pretrained.load.load(str(network), "classification", 2, seed=3)
    loaded = bayespeft.load(tmp_path / "a", model, tokenizer=tokenizer)
    posterior = bayespeft.fit(
        model,
        bayespeft.data.load.load(str(data), limit=16, seed=3),
        "melora",
        tokenizer=tokenizer,
        likelihood=bayespeft.likelihoods.sequence_classification.SequenceClassification(max_length=6),
        targets=Targets(modules=["query", "dense"], layers=(1, 1), exclude=[r".*\.output\.dense"]),
        train=bayespeft.TrainConfig(steps=2, batch_size=8, lr=0.01, kl_weight=0.5),
        seed=3,
        progress=False,
    )
    assert loaded.method == posterior.method
    assert loaded.likelihood == posterior.likelihood
    assert torch.equal(loaded.predict(sentences).log_probs, posterior.predict(sentences).log_probs)


def test_validation_goes_into_the_posterior(network, data, tmp_path):
    ok("fit", network, data, "--out", tmp_path / "out", "--validation-split", "dev", *QUICK)
    records = json.loads((tmp_path / "out" / "posterior.json").read_text())["history"]["records"]
    assert records[-1]["validation"].keys() == {"nll", "accuracy"}


def test_causal_models_answer_questions(llama, tokenizer, questions, tmp_path):
    with quiet():
        llama.save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        (tmp_path / "data" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    ok("fit", tmp_path / "llama", tmp_path / "data", "--out", tmp_path / "out", *QUICK)
    assert "12 in 3 classes" in ok("report", tmp_path / "out", tmp_path / "data", "--draws", 2).stdout


@pytest.fixture
def bare(network, tmp_path):
    """The tiny encoder without its head."""
    fresh = tmp_path / "network-without-head"
    model = bayespeft.pretrained.load.load(str(network), "classification", 2)[0]
    with quiet():
        model.bert.save_pretrained(fresh)
    for file in network.glob("tokenizer*"):
        (fresh / file.name).write_bytes(file.read_bytes())
    return fresh


LISTS = [{"text": "the cat", "label": ["a"]}, {"text": "a dog", "label": ["b", "a"]}, {"text": "dog", "label": []}]


VECTORS = [{"text": "the cat", "label": [0, 1, 1]}, {"text": "a dog", "label": [0, 0, 1]}]


TAGS = [{"tokens": ["the", "cat"], "ner_tags": ["O", "B-X"]}, {"tokens": ["dog"], "ner_tags": ["I-X"]}]


@pytest.mark.parametrize(
    ("rows", "expected", "kind"),
    [
        (LISTS, "with 2 labels", "multi_label"),
        (VECTORS, "with 3 labels", "multi_label"),
        (TAGS, "Entity F1", "token_classification"),
    ],
)
def test_several_labels_and_labels_of_words(bare, tmp_path, rows, expected, kind):
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in 4 * rows))
    ok("fit", bare, tmp_path, "--out", tmp_path / "out", *QUICK)
    told = ok("report", tmp_path / "out", tmp_path, "--draws", 2, "--html", tmp_path / "r.html").stdout
    assert expected in told
    assert "there is no plot of a report on" in refused(
        "report", tmp_path / "out", tmp_path, "--plot", tmp_path / "r.png"
    )
    assert f"these are for '{kind}'" in " ".join(
        bp("compare", bare, tmp_path, "--out", tmp_path / "c", *QUICK).output.split()
    )


def test_labels_may_be_strings(bare, tmp_path):
    (tmp_path / "train.jsonl").write_text(
        "".join(
            json.dumps({"text": f"the cat {'sat ' * i}", "label": ["no", "maybe", "yes"][i % 3]}) + "\n"
            for i in range(6)
        )
    )
    (tmp_path / "test.jsonl").write_text(json.dumps({"text": "a", "label": "yes"}))
    ok("fit", bare, tmp_path, "--out", tmp_path / "out", *QUICK)
    assert "1 in 3 classes" in ok("report", tmp_path / "out", tmp_path, "--draws", 2).stdout


def test_a_head_keeps_its_order_of_the_classes_that_it_was_trained_on(bert, tokenizer, tmp_path):
    """Its order, and not the alphabet's: the head knows what its outputs are."""
    folder, rows = tmp_path / "network", [{"text": "the cat", "label": name} for name in ("good", "bad")]
    bert.config.id2label, bert.config.label2id = {0: "good", 1: "bad"}, {"good": 0, "bad": 1}
    with quiet():
        bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    network, _ = Task(model=str(folder), data=str(tmp_path)).network()
    assert network.config.id2label == {0: "good", 1: "bad"}
    assert torch.equal(network.classifier.weight, bert.classifier.weight)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": "a", "label": n}) + "\n" for n in "xy"))
    assert Task(model=str(folder), data=str(tmp_path)).network()[0].config.id2label == {0: "x", 1: "y"}


def test_classes_are_weighed(network, data, tmp_path):
    said = ok("fit", network, data, "--out", tmp_path / "a", "--class-weight", "1=0.5", *QUICK)
    assert "counts by its class (LABEL_0 1, LABEL_1 0.5): 24 rows as 18" in said.stdout
    written = json.loads((tmp_path / "a" / "posterior.json").read_text())["likelihood"]
    assert written["class_weight"] == [1.0, 0.5]
    ok("fit", network, data, "--out", tmp_path / "b", "--class-weight", "balanced", *QUICK)
    assert "no class" in refused("fit", network, data, "--out", tmp_path / "c", "--class-weight", "spam=2", *QUICK)
    assert "CLASS=WEIGHT is expected" in refused(
        "fit", network, data, "--out", tmp_path / "c", "--class-weight", "1=much", *QUICK
    )
    assert "greater than or equal" in refused(
        "fit", network, data, "--out", tmp_path / "c", "--class-weight", "1=-2", *QUICK
    )
