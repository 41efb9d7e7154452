"""`bayespeft report`: figures of a saved posterior."""

from __future__ import annotations

import json
import re

import pytest

from bayespeft.report.calibration import CalibrationReport
from tests.cli.running import bp, ok, refused


def test_a_report_says_how_it_predicted(fitted, data):
    auto = ok("report", fitted, data, "--draws", "auto", "--sampling", "antithetic")
    assert "Monte Carlo error of the NLL" in auto.stdout
    local = ok("report", fitted, data, "--prediction", "linearised")
    assert "in 1 forward pass and 1 backward pass" in local.stdout  # of two classes the difference is all there is


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


def test_a_network_that_is_gone_must_be_named(network, data, fitted, tmp_path):
    moved = network.rename(tmp_path / "moved")
    assert "report" in refused("report", fitted, data)
    assert "network" in refused("report", fitted, data)
    ok("report", fitted, moved, data, "--draws", 2)


def test_too_many_names_are_refused(fitted, network, data):
    result = bp("report", fitted, network, data, "third")
    assert result.exit_code == 2
    assert "[MODEL] DATA" in result.stderr


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--html", ".", "is a folder: name a file in it"),
        ("--plot", "plot.bmp", "can't be saved as .*end the name with"),
    ],
)
def test_files_that_can_not_be_written_are_found_out_before_anything_is_predicted(
    option, name, message, fitted, data, tmp_path, monkeypatch
):
    monkeypatch.setattr("bayespeft.Posterior.report", lambda *_, **__: pytest.fail("predicted first"))
    assert re.search(message, " ".join(refused("report", fitted, data, option, tmp_path / name).split()))
