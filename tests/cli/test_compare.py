"""`bayespeft compare`: methods, seeds, files."""

from __future__ import annotations

import json
import signal
import warnings

import pytest

import bayespeft
from bayespeft.errors import FitError
from tests.cli.running import QUICK, Process, bp, ok, refused


def runs(out):
    """Finished runs, by method and seed; none is there twice."""
    found = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    by_name = {(run["method"], run["seed"]): run for run in found}
    assert len(by_name) == len(found)
    return by_name


def ended(out):
    """Lines of results, while others may be adding one."""
    return (out / "results.jsonl").read_bytes().count(b"\n")


def two_by_two(network, data, out):
    """A comparison of two methods over two seeds."""
    return (
        "compare", network, data, "--methods", "mle,melora", "--seeds", "0,1", "--draws", 2, "--out", out, *QUICK,
    )  # fmt: skip


def test_compare_writes_what_it_says_and_repeats_no_run(network, data, tmp_path):
    out = tmp_path / "runs"
    arguments = two_by_two(network, data, out)
    result = ok(*arguments)
    shown = " ".join(result.stdout.split())
    for text in ("MLE (LoRA)", "Me-LoRA", "±", "2 seeds", "10 test examples", "Holm's correction"):
        assert text in shown
    names = ["results.jsonl", "table.md", "table.tex", "table.html", "comparison.png", "reliability.png"]
    names += ["report-mle.html", "report-melora.html"]
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == sorted(names)
    assert all(str(out / name) in result.stdout for name in names)
    again = ok(*arguments)
    assert again.stdout == result.stdout
    assert again.stderr.count("done before") == 4


def test_compare_does_what_a_file_says(network, data, tmp_path, monkeypatch):
    out, file = tmp_path / "runs", tmp_path / "runs.toml"
    monkeypatch.setattr("bayespeft.compare.Comparison.save", lambda self, out: None)
    file.write_text(
        f'model = "{network}"\nseeds = [0, 1]\ndraws = 2\n[run]\nout = "{out}"\n[train]\nsteps = 2\nbatch_size = 8\n'
        f'[data.words]\nsource = "{data}"\n[methods.mle]\n[methods.wide]\nbase = "mle"\ntitle = "Wide"\nadapter.r = 3\n'
    )
    ok("compare", file, "--methods", "wide", "--seeds", "1", "--limit", 8)
    (run,) = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert (run["method"], run["title"], run["data"], run["seed"]) == ("wide", "Wide", "words", 1)
    settings = run["settings"]
    assert (settings["method"]["adapter"]["r"], settings["method"]["train"]["steps"], settings["limit"]) == (3, 2, 8)


def test_compare_with_other_data_and_searches(network, data, tmp_path):
    options = ("--ood", f"same={data}", "--tune", "2,1", "--methods", "mle", "--draws", 2, "--limit", 12)
    told = ok("compare", network, data, "--out", tmp_path / "runs", *options, *QUICK)
    assert "same AUROC" in " ".join(told.stdout.split())
    run = json.loads((tmp_path / "runs" / "results.jsonl").read_text())
    assert run["tuned"]["multiples"] == [1, 2]
    assert {row["data"] for row in run["report"]["ood"]} == {"same"}


@pytest.mark.parametrize("correction", [True, False])
def test_classes_of_a_comparison_are_weighed(correction, network, data, sentences, tmp_path, monkeypatch):
    fits = []

    def fit(*arguments, **options):
        fits.append(bayespeft.fit(*arguments, **options))
        return fits[-1]

    monkeypatch.setattr("bayespeft.compare.run.fit", fit)
    weights = ("--class-weight", "1=3", *(["--prior-correction"] if correction else []))
    options = ("--methods", "mle", "--draws", 0, "--tune", "2,1", "--limit", 12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows count as more than there are
        told = ok("compare", network, data, "--out", tmp_path / "runs", *options, *weights, *QUICK)
    assert "counts by its class" in told.stderr
    run = json.loads((tmp_path / "runs" / "results.jsonl").read_text())
    assert (run["settings"]["class_weight"], run["settings"]["prior_correction"]) == ({"1": 3.0}, correction)
    weighed, natural = fits[-1], fits[-1].with_prior_correction()
    mine = natural if correction else weighed
    assert weighed.likelihood.weights == (1.0, 3.0)
    nll = -mine.predict(sentences[:10], 0).log_likelihood.mean()
    assert run["report"]["nll"]["value"] == pytest.approx(float(nll), abs=1e-6)


def test_a_correction_without_weights_is_refused(network, data, tmp_path):
    told = refused("compare", network, data, "--out", tmp_path / "runs", "--prior-correction", *QUICK)
    assert "there is no class_weight" in told


def test_compare_tells_what_failed(network, data, tmp_path, monkeypatch):
    def fit(model, rows, method, **options):
        if method.name == "mle":
            raise FitError("the loss is nan")
        return bayespeft.fit(model, rows, method, **options)

    monkeypatch.setattr("bayespeft.compare.run.fit", fit)
    result = bp("compare", network, data, "--methods", "mle,melora", "--draws", 2, "--out", tmp_path / "runs", *QUICK)
    assert result.exit_code == 1
    assert "Me-LoRA" in result.stdout
    assert f"Failures: {tmp_path / 'runs' / 'failures.txt'}" in result.stdout
    assert result.stderr.splitlines()[-1].startswith("failed: MLE (LoRA)")
    assert result.stderr.splitlines()[-1].endswith("seed 0: FitError: the loss is nan")


def test_columns_of_a_comparison(network, sentences, tmp_path):
    for split, rows in (("train", sentences), ("test", sentences[:10])):
        lines = "".join(json.dumps({"body": row["text"], "gold": row["label"]}) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(lines)
    ok(
        "compare",
        network,
        tmp_path,
        "--columns",
        "text=body,label=gold",
        "--methods",
        "mle",
        "--out",
        tmp_path / "out",
        *QUICK,
    )
    (run,) = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert run["settings"]["columns"] == {"text": "body", "label": "gold"}
    assert run["report"]["n"] == 10


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_comparison_that_a_signal_stops_goes_on_to_the_same_result(network, data, tmp_path, number, code):
    out, whole = tmp_path / "runs", tmp_path / "whole"
    command = (
        "compare",
        network,
        data,
        "--methods",
        "mle,melora",
        "--draws",
        2,
        "--steps",
        5,
        "--batch-size",
        8,
        "--out",
    )
    # The first fit is done, and the second one is before its step 3.
    with Process(tmp_path / "process", *command, out, before=8) as process:
        process.ready()
        process.process.send_signal(number)
        assert process.go_on() == code
    assert "Stopped after step 3 of 5; the state is in" in process.stderr
    assert "Traceback" not in process.stderr
    assert [*runs(out)] == [("mle", 0)]
    (state,) = (out / "states").rglob("*.pt")
    assert str(state) in process.stderr
    resumed = ok(*command, out)
    assert resumed.stderr.count("done before") == 1
    assert not (out / "states").exists()
    ok(*command, whole)
    found, expected = runs(out), runs(whole)
    assert {name: run["scores"] for name, run in found.items()} == {
        name: run["scores"] for name, run in expected.items()
    }
    assert all(run["history"]["steps"] == 5 for run in found.values())


def test_two_comparisons_in_one_folder_share_the_work(network, data, tmp_path):
    out = tmp_path / "runs"
    command = two_by_two(network, data, out)
    # One is held in its first run, so that the other one makes the three that are left, and then waits.
    with Process(tmp_path / "one", *command, before=1) as one:
        one.ready()
        with Process(tmp_path / "other", *command) as other:
            other.wait_until(lambda: (out / "results.jsonl").exists() and ended(out) == 3)
            assert other.process.poll() is None
            assert one.go_on() == 0
            assert other.go_on() == 0
    assert [*sorted(runs(out))] == [("melora", 0), ("melora", 1), ("mle", 0), ("mle", 1)]
    assert (one.stderr.count("fitting to"), other.stderr.count("fitting to")) == (1, 3)
    assert one.stdout == other.stdout
    assert not (out / "states").exists()
