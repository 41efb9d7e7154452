"""The command line as a user types it: round trips, files, and errors of one line."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

import bayespeft
from bayespeft.cli.app import app
from bayespeft.task import Task
from tests.cli.running import QUICK, bp, ok, refused


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


def test_methods_are_listed_with_their_references():
    output = ok("methods").stdout
    assert "melora" in output
    assert "2406.11675" in output


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
    assert "engine: Input should be 'local', 'slurm' or 'ray'" in refused(
        "compare", network, data, "--engine", "dask", *out
    )
    assert not (tmp_path / "other").exists()


def test_debug_shows_the_traceback(network, data):
    result = bp("--debug", "fit", network, data, "--method", "melorra", "--out", "unused")
    assert isinstance(result.exception, bayespeft.errors.UnknownNameError)


def test_other_exceptions_keep_their_traceback(network, data, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(bayespeft, "fit", fail)
    assert isinstance(bp("fit", network, data, "--out", "unused").exception, ZeroDivisionError)
    assert not Path("unused").exists()


def test_files_and_columns_may_have_any_name(network, sentences, tmp_path):
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


def lines():
    """Yield each command line of the documentation, as words."""
    root = Path(__file__).parents[2]
    for page in [root / "README.md", *sorted((root / "docs").glob("**/*.md"))]:
        text = page.read_text(encoding="utf-8")
        for language, block in re.findall(r"^```(\w*).*?\n(.*?)^```", text, flags=re.M | re.S):
            if language != "python":
                yield from (shlex.split(line) for line in block.splitlines() if line.startswith("bayespeft "))


@pytest.mark.parametrize("words", list(lines()), ids=" ".join)
def test_command_lines_of_the_documentation_name_commands_arguments_and_options_that_are_there(words):
    command = typer.main.get_command(app).commands[words[1]]
    with command.make_context(words[1], words[2:]) as context:
        sources = {name: context.get_parameter_source(name) for name in context.params}
        given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    assert len(given) >= len([word for word in words if word.startswith("--")])
    with pytest.raises(Exception, match="No such option"):
        command.make_context(words[1], [*words[2:], "--no-such-option"])
