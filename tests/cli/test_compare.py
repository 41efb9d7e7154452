"""`bayespeft compare`: methods, seeds, files."""

from __future__ import annotations

import json

import bayespeft
from bayespeft.errors import FitError
from tests.cli.running import QUICK, bp, ok


def test_compare(network, data, tmp_path):
    out = tmp_path / "runs"
    arguments = (
        "compare",
        network,
        data,
        "--methods",
        "mle,melora",
        "--seeds",
        "0,1",
        "--draws",
        2,
        "--out",
        out,
        *QUICK,
    )
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


def test_compare_what_a_file_says(network, data, tmp_path, monkeypatch):
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
