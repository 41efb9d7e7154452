"""`compare` as a function: what it writes, what it does not do twice, and what its numbers are."""

from __future__ import annotations

import io
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from rich.console import Console

import bayespeft
from bayespeft import TrainConfig
from bayespeft.compare import Comparison, DataSet, Study, compare, compare_study, held_out
from bayespeft.compare.file import Execution
from bayespeft.compare.results import Results
from bayespeft.data.load import load as load_rows
from bayespeft.errors import ConfigError, DataError, FitError, RunError, UnknownNameError
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.rosa_subspace import METHOD as ROSA
from bayespeft.pretrained.base import quiet
from bayespeft.pretrained.load import load as load_network
from bayespeft.task import Task
from tests.compare.conftest import QUICK, lines


@pytest.fixture
def counted(monkeypatch):
    """Fits that `compare` makes, as (method, seed, number of rows)."""
    calls = []

    def fit(model, rows, method, **options):
        calls.append((method.name, options["seed"], rows.count))
        return bayespeft.fit(model, rows, method, **options)

    monkeypatch.setattr("bayespeft.compare.run.fit", fit)
    return calls


@pytest.fixture
def _no_plots(monkeypatch):
    """Plots take most of the time, where only the file of results matters."""
    monkeypatch.setattr(Comparison, "save", lambda self, out: None)


def shown(comparison):
    console = Console(file=io.StringIO(), width=140)
    console.print(comparison.table())
    return " ".join(console.file.getvalue().split())


@pytest.mark.usefixtures("_no_plots")
def test_a_report_calls_classes_by_their_names(quick, sentences, tmp_path):
    named = tmp_path / "named"
    named.mkdir()
    rows = [{**row, "label": ("bad", "good")[row["label"]]} for row in sentences]
    for split in ("train", "test"):
        (named / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    quick(["mle"], [0], data=str(named), out=tmp_path / "runs")
    (run,) = lines(tmp_path / "runs")
    report = bayespeft.CalibrationReport.from_dict(run["report"])
    assert [figures.name for figures in report.by_class.figures] == ["bad", "good"]


def test_a_comparison_writes_its_files_and_a_row_for_each_run(quick, tmp_path):
    out = tmp_path / "deep" / "runs"
    comparison = quick(out=out)
    names = ["comparison.png", "reliability.png", "report-melora.html", "report-mle.html", "results.jsonl"]
    names += ["table.html", "table.md", "table.tex"]
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == names
    assert sorted(path.name for paths in comparison.files(out).values() for path in paths) == names
    page = (out / "report-melora.html").read_text(encoding="utf-8")
    assert "KL from the prior" in page
    assert "method › adapter › r" in page
    runs = lines(out)
    assert [(run["method"], run["seed"]) for run in runs] == [("mle", 0), ("melora", 0), ("mle", 1), ("melora", 1)]
    run = runs[0]
    assert run["settings"]["method"]["train"]["steps"] == 2
    assert run["settings"]["draws"] == 2
    assert {"bayespeft", "torch", "python"} <= run["versions"].keys()
    assert bayespeft.CalibrationReport.from_dict(run["report"]).n == 10
    assert [(row["method"], row["seed"]) for row in comparison.rows] == [
        ("mle", 0),
        ("mle", 1),
        ("melora", 0),
        ("melora", 1),
    ]
    values = [row["nll"] for row in comparison.rows if row["method"] == "mle"]
    text = shown(comparison)
    assert f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}" in text
    assert "Mean ± standard deviation over 2 seeds" in text
    assert len(comparison.headlines) == 2
    assert comparison.headlines[0].startswith("MLE (LoRA), seed 0: ")


def test_one_seed_shows_intervals(quick):
    comparison = quick(["mle"], [3])
    nll = comparison.runs[0]["report"]["nll"]
    assert rf"{nll['value']:.3f} \[{nll['low']:.3f}, {nll['high']:.3f}\]" in comparison.to_markdown()


def test_it_is_what_fit_and_report_say(quick, network, data):
    comparison = quick(["melora"], [1], limit=12)
    model, tokenizer = load_network(network, "classification", 2, seed=1)
    rows = load_rows(data, limit=12, seed=1)
    posterior = bayespeft.fit(model, rows, "melora", tokenizer=tokenizer, train=QUICK, seed=1, progress=False)
    report = posterior.report(load_rows(data, "test"), draws=2, seed=1)
    assert comparison.runs[0]["report"]["nll"] == report.to_dict()["nll"]


@pytest.mark.skipif(
    transformers.__version__ < "5", reason="before 5.0 such a head draws other numbers than a missing one"
)
def test_a_head_of_another_number_of_classes_is_made_anew(quick, network, data, bert, tmp_path):
    """A folder that someone fine-tuned to another task is a base like any other."""
    config = type(bert.config)(**{**bert.config.to_dict(), "num_labels": 3})
    with torch.random.fork_rng(), quiet():
        other = type(bert)(config)
        other.bert.load_state_dict(bert.bert.state_dict())
        other.save_pretrained(tmp_path / "other")
    for file in Path(network).glob("tokenizer*"):
        (tmp_path / "other" / file.name).write_bytes(file.read_bytes())
    expected = quick(["mle"], [0, 1])
    found = compare(str(tmp_path / "other"), data, ["mle"], [0, 1], train=QUICK, draws=2, progress=False)
    assert [run["report"]["nll"] for run in found.runs] == [run["report"]["nll"] for run in expected.runs]


def test_other_data_are_what_report_says(quick, network, data, sentences, tmp_path):
    """Their labels, of other classes than the network's, are not used; methods without draws have no mutual information."""
    (tmp_path / "others").mkdir()
    others = [{"text": f"{row['text']} {i}", "label": 7} for i, row in enumerate(sentences[:6])]
    (tmp_path / "others" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in others))
    comparison = quick(["mle", "melora"], [1], limit=12, ood={"numbered": str(tmp_path / "others")})
    model, tokenizer = load_network(network, "classification", 2, seed=1)
    rows = load_rows(data, limit=12, seed=1)
    posterior = bayespeft.fit(model, rows, "melora", tokenizer=tokenizer, train=QUICK, seed=1, progress=False)
    report = posterior.report(load_rows(data, "test"), draws=2, seed=1, ood={"numbered": others}).to_dict()
    mle, melora = comparison.runs
    assert melora["report"]["ood"] == report["ood"]
    assert "ood_rows" in mle["settings"]
    auroc = next(row["auroc"]["value"] for row in report["ood"] if row["score"] == "entropy")
    assert comparison.rows[1]["ood_auroc"] == {"numbered": auroc}
    text = shown(comparison)
    assert f"{auroc:.3f}" in text
    assert "The chance that a row of numbered has a larger predictive entropy than a test row" in text.replace(
        "the c", "The c"
    )
    header, _, *table = [line for line in comparison.to_markdown().splitlines() if line.startswith("|")]
    at = [cell.strip() for cell in header.split("|")].index("MI (nats)")
    cells = [row.split("|")[at].strip() for row in table]
    assert cells == ["-", f"{report['mutual_information']:.3f}"]


@pytest.mark.usefixtures("_no_plots")
def test_other_data_that_cannot_be_read_is_found_out_before_the_fit(quick, counted, tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "test.jsonl").write_text('{"label": 1}\n')
    with pytest.raises(RunError, match=r"DataError: row 0.*'text'"):
        quick(["mle"], [0], ood={"others": str(tmp_path / "others")})
    assert counted == []
    with pytest.raises(UnknownNameError):
        quick(["mle"], [0], ood={"others": "no such data"})


def test_methods_do_not_disturb_each_other(quick):
    together = quick(["mle", "melora"], [0, 1])
    alone = quick(["melora"], [1])
    assert alone.runs[0]["report"]["nll"] == together.runs[3]["report"]["nll"]


@pytest.mark.usefixtures("_no_plots")
def test_finished_runs_are_not_repeated(quick, counted, tmp_path):
    first = quick(["mle"], [0], out=tmp_path / "runs")
    both = quick(["melora", "mle"], [0, 1], out=tmp_path / "runs")
    assert counted == [("mle", 0, 24), ("melora", 0, 24), ("melora", 1, 24), ("mle", 1, 24)]
    assert both.runs[2] == first.runs[0]
    quick(["mle"], [0], out=tmp_path / "runs", again=True)
    assert counted[4:] == [("mle", 0, 24)]
    assert len(lines(tmp_path / "runs")) == 5  # of two lines on one run, the last counts
    assert len(Results(tmp_path / "runs").read()) == 4


@pytest.mark.filterwarnings("ignore:.* texts are longer")  # as they are meant to be
@pytest.mark.usefixtures("_no_plots")
def test_other_settings_are_other_runs(quick, counted, tmp_path):
    quick(["mle"], [0], out=tmp_path / "runs")
    changes = [{"limit": 8}, {"draws": 3}, {"train": TrainConfig(steps=3)}, {"targets": ["query"]}, {"max_length": 5}]
    for change in changes:
        assert len(quick(["mle"], [0], out=tmp_path / "runs", **change).runs) == 1
    assert [rows for *_, rows in counted] == [24, 8, 24, 24, 24, 24]
    assert len(lines(tmp_path / "runs")) == 6


@pytest.mark.usefixtures("_no_plots")
@pytest.mark.parametrize("split", ["train", "test"])
def test_other_rows_are_other_runs(quick, counted, data, tmp_path, split):
    first = quick(["mle"], [0], out=tmp_path / "runs")
    path = Path(data) / f"{split}.jsonl"
    rows = path.read_text().splitlines()
    path.write_text("\n".join(rows[::-1]))
    both = quick(["mle", "melora"], [0], out=tmp_path / "runs")
    assert len(counted) == 3
    assert both.runs[0]["settings"][f"{split}_rows"] != first.runs[0]["settings"][f"{split}_rows"]
    assert len({run["settings"][f"{split}_rows"] for run in both.runs}) == 1
    path.write_text("\n".join(rows))
    assert quick(["mle"], [0], out=tmp_path / "runs").runs == first.runs
    assert len(counted) == 3


@pytest.mark.usefixtures("_no_plots")
def test_where_all_is_done_slurm_is_not_asked_for(quick, network, data, tmp_path, monkeypatch):
    done = quick(["mle"], [0], out=tmp_path / "runs")
    study = Study.of(network, data, ["mle"]).over(draws=2, train=QUICK)
    monkeypatch.setitem(sys.modules, "submitit", None)
    execution = Execution(out=str(tmp_path / "runs"), engine="slurm")
    assert compare_study(study, execution, progress=False).runs == done.runs


@pytest.fixture
def failing(monkeypatch):
    """Fits of Me-LoRA fail."""

    def fit(model, rows, method, **options):
        if method.name == "melora":
            raise FitError("the loss is nan")
        return bayespeft.fit(model, rows, method, **options)

    monkeypatch.setattr("bayespeft.compare.run.fit", fit)


@pytest.mark.usefixtures("failing")
def test_a_failed_run_loses_no_other(quick, tmp_path):
    comparison = quick(["melora", "mle"], seeds=[0, 1], out=tmp_path / "runs")
    assert [(run["method"], run["seed"]) for run in comparison.runs] == [("mle", 0), ("mle", 1)]
    assert [failure.error for failure in comparison.failures] == ["FitError: the loss is nan"] * 2
    assert comparison.failures[1].title.endswith("seed 1")
    assert len(lines(tmp_path / "runs")) == 2
    assert (tmp_path / "runs" / "failures.txt").read_text().count("Traceback") == 2


@pytest.mark.usefixtures("_no_plots")
def test_what_failed_is_done_again_and_what_did_not_is_not(quick, counted, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("bayespeft.compare.run.fit", lambda *_, **__: 1 / 0)
        with pytest.raises(RunError, match=r"The first of 1: .*seed 0: ZeroDivisionError") as raised:
            quick(["mle"], seeds=[0], out=tmp_path / "runs")
    assert "Traceback" in str(raised.value.__cause__)
    assert "ZeroDivisionError" in (tmp_path / "runs" / "failures.txt").read_text()
    assert quick(seeds=[0], out=tmp_path / "runs").failures == ()
    assert [name for name, *_ in counted] == ["mle", "melora"]


def test_a_network_that_was_merged_into_serves_no_other_method(quick, monkeypatch):
    networks = []

    def fit(model, rows, method, **options):
        networks.append({name: value.clone() for name, value in model.state_dict().items()})
        return bayespeft.fit(model, rows, method, **options)

    monkeypatch.setattr("bayespeft.compare.run.fit", fit)
    rosa = ROSA.replace(adapter=ROSA.adapter.replace(r=2))
    together = quick([rosa, "mle"], [0], train=TrainConfig(steps=6, batch_size=8, epochs=2))
    assert networks[0].keys() == networks[1].keys()
    assert all(value.equal(networks[1][name]) for name, value in networks[0].items())
    alone = quick(["mle"], [0], train=TrainConfig(steps=6, batch_size=8, epochs=2))
    assert together.runs[1]["scores"] == alone.runs[0]["scores"]


def test_each_data_set_has_rows_and_plots_of_its_own(quick, data, sentences, tmp_path):
    (tmp_path / "other").mkdir()
    for split in ("train", "test"):
        (tmp_path / "other" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sentences))
    out = tmp_path / "runs"
    comparison = quick(["mle"], [0], out=out, data=[data, str(tmp_path / "other")])
    assert [(row["data"], row["method"]) for row in comparison.rows] == [
        (data, "mle"),
        (str(tmp_path / "other"), "mle"),
    ]
    text = shown(comparison)
    assert "2 data sets" in text
    assert (out / "reliability-1-network-data.png").is_file()
    assert (out / "comparison-2-network-other.png").is_file()
    assert all(path.is_file() for paths in comparison.files(out).values() for path in paths)


def test_one_source_is_two_data_sets_where_settings_differ(network, data):
    study = Study.of(network, data, ["mle"]).over(draws=1, train=QUICK)
    some, few = DataSet(source=data, test_limit=6), DataSet(source=data, test_limit=3)
    comparison = compare_study(replace(study, data={"some": some, "few": few}), progress=False)
    assert [(run["data"], run["report"]["n"]) for run in comparison.runs] == [("some", 6), ("few", 3)]
    same = {"some": some, "same": some.replace(kind="classification")}
    with pytest.raises(ConfigError, match="data 'some' and 'same' are the same"):
        compare_study(replace(study, data=same), progress=False)


def test_methods_of_ones_own_are_called_by_name_where_titles_are_alike(quick):
    base = bayespeft.methods()["melora"]
    wide = base.replace(name="wide", guide=MeanField(noise="batch"))
    comparison = quick([base, wide], [0])
    assert comparison.runs[1]["settings"]["method"]["guide"]["noise"] == "batch"
    assert [line.split(":")[0] for line in comparison.headlines] == ["melora", "wide"]  # for they share a title


def test_rows_go_by_the_seed_and_tests_do_not(quick, network, data, monkeypatch):
    seen = []

    def fit(model, rows, method, **options):
        seen.append([row["text"] for row in rows.rows])
        return bayespeft.fit(model, rows, method, **options)

    monkeypatch.setattr("bayespeft.compare.run.fit", fit)
    comparison = quick(["mle"], [0, 1], limit=8, test_limit=6)
    assert seen[0] == [row["text"] for row in load_rows(data, limit=8, seed=0)]
    assert seen[1] == [row["text"] for row in load_rows(data, limit=8, seed=1)] != seen[0]
    assert {run["report"]["n"] for run in comparison.runs} == {6}
    heads = [Task(model=network, data=data).network(seed)[0].classifier.weight for seed in (0, 0, 1)]
    assert heads[0].equal(heads[1])
    assert not heads[0].equal(heads[2])


def test_the_columns_say_what_kind_of_task_it_is(data, tmp_path):
    assert Task(model="m", data=data).resolved_kind == "classification"
    assert Task(model="m", data=data, kind="causal").resolved_kind == "causal"
    (tmp_path / "train.jsonl").write_text(json.dumps({"question": "?", "choices": ["a", "b"], "answer": 0}))
    assert Task(model="m", data=str(tmp_path)).resolved_kind == "causal"
    (tmp_path / "train.jsonl").write_text(json.dumps({"source": "a", "target": "b"}))
    with pytest.raises(DataError, match=r"columns source, target; to classify"):
        _ = Task(model="m", data=str(tmp_path)).resolved_kind


def test_what_can_not_be_compared_is_refused(quick, tmp_path):
    with pytest.raises(ConfigError, match=r"methods is \['mle', 'mle'\]"):
        quick(["mle", "mle"])
    with pytest.raises(ConfigError, match=r"seeds is \[\]"):
        quick(seeds=[])
    with pytest.raises(UnknownNameError, match="Did you mean 'melora'"):
        quick(["melorra"])
    with pytest.raises(RunError, match="'tpu'"):
        quick(device="tpu")
    with pytest.raises(ConfigError, match="workers"):
        quick(workers=0)
    with pytest.raises(ConfigError, match=r"draws=-1 must be"):
        quick(draws=-1)
    (tmp_path / "results.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match=r"results.jsonl, line 1 is no file of results"):
        quick(out=tmp_path)
    assert (tmp_path / "results.jsonl").read_text() == "[1]\n"


@pytest.mark.usefixtures("_no_plots")
def test_a_method_with_a_temperature_trains_on_what_it_does_not_hold_out(quick, counted, sentences):
    quick(methods=("mle", "temperature"), seeds=(0,))
    kept, held = held_out(sentences, 0)
    assert len(held) >= len(sentences) // 5
    assert counted == [("mle", 0, len(sentences)), ("temperature", 0, len(kept))]


def test_what_is_held_out_is_random_and_not_trained_on():
    rows = [{"label": int(i >= 50), "i": i} for i in range(100)]
    kept, held = held_out(rows, seed=0)
    assert sorted(row["i"] for row in [*kept, *held]) == list(range(100))
    assert len(held) == 20
    assert {row["label"] for row in held} == {0, 1}
    assert held_out(rows, seed=0) == (kept, held) != held_out(rows, seed=1)
