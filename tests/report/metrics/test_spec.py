"""The table of metrics: reports have all of it, and one metric that is registered is everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bayespeft import registry
from bayespeft.compare.comparison import Comparison
from bayespeft.errors import ConfigError
from bayespeft.report import CalibrationReport, Metric, bootstrap, metrics
from bayespeft.report.metrics.cells import METRICS as CELL_METRICS
from bayespeft.report.metrics.spec import MetricSpec, table
from bayespeft.report.metrics.tally import Ordered
from bayespeft.report.ood import separations
from bayespeft.report.over_draws import over_draws
from tests.compare.conftest import made_up

NAMES = [spec.name for spec in table()]


@pytest.fixture(scope="module")
def data(simulate: Any) -> Any:
    return simulate(300, 4, temperature=0.6)


@pytest.fixture(scope="module")
def report(data: Any) -> CalibrationReport:
    return CalibrationReport.from_log_probs(*data)


def plain(name: str, *data: Any) -> float:
    """The metric as the function of its name has it."""
    found, _, at = name.partition(".")
    part = found.removeprefix("brier_")
    if part != found:
        return metrics.brier_parts(*data)[part]
    return float(getattr(metrics, found)(*data, *([float(at)] if at else [])))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("base_accuracy", "base_nll", "refusal_gain")])
def test_a_report_has_every_metric_as_its_function_has_it(report: CalibrationReport, data: Any, name: str) -> None:
    found = report.metrics[name]
    value = found.value if isinstance(found, Metric) else found
    assert value == pytest.approx(plain(name, *data), abs=1e-12)
    (spec,) = (spec for spec in table() if spec.name == name)
    assert isinstance(found, Metric) == (spec.interval is not None)
    if isinstance(found, Metric):
        assert found.low < found.value < found.high


def test_the_trivial_answer_is_the_most_frequent_class_and_the_entropy_of_all() -> None:
    labels, shares = np.repeat([0, 1, 2], [50, 30, 20]), np.array([0.5, 0.3, 0.2])
    report = CalibrationReport.from_log_probs(np.log(np.tile(shares, (100, 1))), labels, resamples=50)
    assert (report.majority, report.metrics["base_accuracy"]) == (0, 0.5)
    assert report.metrics["base_nll"] == pytest.approx(-(shares * np.log(shares)).sum())
    skill = report.metric("skill")
    # No row adds to it; a share of rows that were not seen could.
    assert skill.value == pytest.approx(0)
    assert skill.low < 0 < skill.high < 0.05


def test_where_all_rows_are_of_one_class_nothing_can_be_beaten() -> None:
    report = CalibrationReport.from_log_probs(np.log([[0.9, 0.1]] * 5), [0] * 5, resamples=10)
    assert report.metrics["skill"] is None
    assert (report.metrics["base_nll"], report.metrics["base_accuracy"], report.trivial) == (
        0, 1, "all rows are of one class",
    )  # fmt: skip


# One registration

MARGIN = """
from bayespeft.report.metrics.intervals import Percentile
from bayespeft.report.metrics.spec import MetricSpec

METRICS = (
    MetricSpec(
        name="boldness", title="boldness", contribution=lambda scores: scores.confidence**2, interval=Percentile(),
        unit="%", higher_is_better=True, remark="a remark on it", printed="said in print", tile="said on a tile",
        compared=True, by_draws=True,
    ),
)
"""


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that is installed, with one file, which registers one metric."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "their_metric.py").write_text(MARGIN)
    info = tmp_path / "their_metric-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their_metric\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bayespeft.report.metrics]\nboldness = their_metric\n")
    registry.forget()
    yield
    sys.modules.pop("their_metric", None)
    monkeypatch.undo()
    registry.forget()


@pytest.mark.usefixtures("registered")
def test_one_metric_that_is_registered_is_everywhere(data: Any) -> None:
    draws = np.stack([data[0], np.log(np.full_like(data[0], 0.25))])
    report = CalibrationReport.from_log_probs(*data, over_draws=over_draws(draws, data[1]), resamples=50)
    expected = float((np.exp(data[0]).max(1) ** 2).mean())
    found = report.metric("boldness")
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high
    shown = f"{100 * expected:.1f} %"
    (line,) = (line for line in str(report).splitlines() if line.startswith("Boldness"))
    assert shown in line
    assert line.endswith("said in print")
    page = report.to_html()
    for words in ("a remark on it", "said on a tile", shown):
        assert words in page
    assert "draws.boldness" in report.figures
    assert report.over_draws is not None
    assert report.over_draws.errors is not None
    assert report.over_draws.errors["boldness"] > 0
    assert all(row.metrics["boldness"] > 1 / 16 for row in report.over_draws.by_draws)
    assert f"boldness,{found.value!r},{found.low!r},{found.high!r}" in report.to_csv()
    assert CalibrationReport.from_json(report.to_json()) == report


@pytest.mark.usefixtures("registered")
def test_one_metric_that_is_registered_is_a_column_of_comparisons_and_tested() -> None:
    runs = [made_up("a", logits=np.linspace(-9, 9, 20)), made_up("b", logits=np.linspace(-0.1, 0.1, 20))]
    comparison = Comparison(tuple(runs))
    header, *_ = comparison.to_markdown().partition("\n\n")[2].splitlines()
    assert "boldness (%)" in header
    assert "boldness (%)" in comparison.to_html()
    assert [row["boldness"] for row in comparison.rows] == [run["report"]["boldness"]["value"] for run in runs]
    (test,) = (row for row in comparison.tests if row["metric"] == "boldness")
    assert (test["best"], test["method"]) == ("a", "b")
    assert test["p"] < 0.05


def test_a_report_that_was_written_before_a_metric_was_registered_is_read(
    report: CalibrationReport, request: pytest.FixtureRequest
) -> None:
    text = report.to_json()
    request.getfixturevalue("registered")
    old = CalibrationReport.from_json(text)
    assert old == report
    (line,) = (line for line in str(old).splitlines() if line.startswith("Boldness"))
    assert line.split()[1] == "-"
    assert "Boldness" in old.to_html()


def test_metrics_that_cannot_be_are_errors() -> None:
    with pytest.raises(ConfigError, match="metric 'a': a contribution of each example or a function"):
        MetricSpec(name="a", title="a")
    with pytest.raises(ConfigError, match="two metrics have the name accuracy, base_accuracy"):
        table(("proper", "proper"))


# Class-wise metrics


def test_class_wise_resamples_are_those_of_the_other_figures(data: Any) -> None:
    """Each against the plain metric on the resampled examples."""
    log_probs, labels = data[0][:40], data[1][:40]
    ordered = Ordered.of(metrics.example_scores(log_probs, labels))
    found = bootstrap.replicates(ordered, {spec.name: (spec, 10) for spec in CELL_METRICS}, resamples=10, seed=3)
    picks = ordered.order[np.random.default_rng(3).integers(0, 40, size=(10, 40))]
    for name, draws in found.items():
        assert draws == pytest.approx([plain(name, log_probs[rows], labels[rows]) for rows in picks], abs=1e-12)


def test_class_wise_figures_take_fewer_resamples_where_all_take_too_long(
    data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK", 300)
    full = CalibrationReport.from_log_probs(*data, resamples=100)
    monkeypatch.setattr(bootstrap, "WORK", 60 * 300 * 4)
    fewer = CalibrationReport.from_log_probs(*data, resamples=100)
    assert fewer.metrics["smooth_ece"] == full.metrics["smooth_ece"]
    assert fewer.metrics["aurc"] == full.metrics["aurc"]
    assert fewer.metric("ece_classwise").value == full.metric("ece_classwise").value
    assert fewer.metrics["ece_classwise"] != full.metrics["ece_classwise"]
    sixty = CalibrationReport.from_log_probs(*data, resamples=60)
    assert fewer.metrics["ece_classwise"] == sixty.metrics["ece_classwise"]


def test_parts_made_elsewhere_are_kept_printed_and_read(data: Any) -> None:
    ood = separations({"entropy": [0.0, 0.1, 0.5]}, {"news": {"entropy": [0.4, 0.6]}})
    draws = np.stack([data[0], data[0]])
    report = CalibrationReport.from_log_probs(*data, ood=ood, over_draws=over_draws(draws, data[1]), resamples=10)
    assert report.ood == ood
    assert CalibrationReport.from_json(report.to_json()) == report
    assert report.over_draws is not None
    assert [row.draws for row in report.over_draws.by_draws] == [1, 2]
    (line,) = (line for line in str(report).splitlines() if line.startswith("OOD news"))
    assert "0.833" in line
    assert line.endswith("AUROC by entropy, 2 examples")


def test_figures_that_are_not_defined_are_unknown() -> None:
    report = CalibrationReport.from_log_probs(np.log([[0.9, 0.1]] * 4), [0] * 4, resamples=10)
    assert report.metrics["error_auroc"] is None
    assert any(line.startswith("AUROC of errors") and " - " in line for line in str(report).splitlines())
    assert CalibrationReport.from_json(report.to_json()) == report


def refusing(before: float, after: float, low: float, high: float) -> str:
    report = CalibrationReport.from_log_probs(np.log([[0.9, 0.1]] * 4), [0] * 4, resamples=10)
    figures = {
        "refusal_gain": Metric(after - before, low, high),
        "accuracy_at_coverage.0.8": Metric(after, after, after),
    }
    return replace(report, metrics={**report.metrics, **figures}).refusing


def test_a_gain_by_refusing_is_not_rounded_up() -> None:
    said = "refuse the least certain 20 % and accuracy rises from"
    assert refusing(0.994, 0.995, 0.0005, 0.0015) == f"{said} 99.4 to 99.5 %"
    assert refusing(0.80, 0.90, 0.05, 0.15) == f"{said} 80.0 to 90.0 %"


def test_a_loss_by_refusing_is_said() -> None:
    assert refusing(0.8, 0.75, -0.08, -0.02) == "refusing the least certain 20 % lowers accuracy from 80.0 to 75.0 %"
    assert "does not clearly help" in refusing(0.8, 0.79, -0.02, 0.01)


def test_csv_names_other_sets_and_scores(data: Any) -> None:
    sets = {"entropy": [0.4, 0.6], "max_probability": [0.1, 0.2]}
    ood = separations({"entropy": [0.0, 0.5], "max_probability": [0.0, 0.5]}, {"news": sets, "far": sets})
    text = CalibrationReport.from_log_probs(*data, ood=ood, resamples=5).to_csv()
    rows = {line.split(",")[0] for line in text.splitlines()}
    for name in ("news", "far"):
        for score in ("entropy", "max_probability"):
            assert {f"ood.{name}.{score}.auroc", f"ood.{name}.{score}.n"} <= rows
    assert not any(row.startswith("ood.0") for row in rows)


def test_which_way_each_metric_is_better() -> None:
    """Tables set the best in bold by it."""
    ways = {spec.name: spec.higher_is_better for spec in table()}
    better = {name for name, way in ways.items() if way}
    worse = {name for name, way in ways.items() if way is False}
    at = {name for name in ways if name.startswith(("accuracy_at_coverage", "coverage_at_risk"))}
    assert better - at == {
        "accuracy", "skill", "brier_resolution", "error_auroc", "error_average_precision", "refusal_gain"
    }  # fmt: skip
    assert worse == {
        "nll", "brier", "ece", "ece_equal_mass", "ece_debiased", "rms_debiased", "mce", "smooth_ece", "ece_classwise",
        "brier_reliability", "aurc", "excess_aurc", "augrc",
    }  # fmt: skip
    assert at <= better
