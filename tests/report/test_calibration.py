from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bayespeft.errors import ConfigError, DataError, FileError
from bayespeft.report import CalibrationReport, metrics
from bayespeft.report.bootstrap import ece_noise, intervals

FACTS: dict[str, Any] = {
    "mutual_information": 0.03,
    "draws": 10,
    "forward_passes": 2,
    "seconds": 3.25,
    "trainable_parameters": 1024,
    "total_parameters": 1_024_000,
    "peak_memory_bytes": 3 * 2**29,
    "method": "melora",
    "name": "MRPC test",
}


def two_groups(confidences: tuple[float, float], accuracies: tuple[float, float], each: int = 1000) -> Any:
    """Half the examples at one confidence and accuracy, half at another."""
    probs = np.repeat(confidences, each)
    right = np.concatenate([np.arange(each) < a * each for a in accuracies])
    return np.log(np.stack([probs, 1 - probs], axis=1)), (~right).astype(int)


@pytest.fixture(scope="module")
def data(simulate: Any) -> Any:
    return simulate(300, 4, temperature=0.6)


@pytest.fixture(scope="module")
def report(data: Any) -> CalibrationReport:
    return CalibrationReport.from_log_probs(*data, **FACTS)


def test_numbers_are_those_of_the_metrics(report: CalibrationReport, data: Any) -> None:
    for name in ("accuracy", "nll", "ece", "ece_equal_mass", "brier"):
        assert getattr(report, name) == report.metrics[name]
        assert getattr(report, name).value == pytest.approx(getattr(metrics, name)(*data), abs=1e-12)
    scores = metrics.example_scores(*data)
    assert report.metrics == intervals(scores)
    assert report.ece_noise == ece_noise(scores.confidence)
    assert report.bins == metrics.bins(*data)
    assert (report.n, report.classes) == (300, 4)
    assert report.confidence == pytest.approx(scores.confidence.mean())
    assert report.entropy == pytest.approx(scores.entropy.mean())
    assert {name: getattr(report, name) for name in FACTS} == FACTS


def test_report_is_a_function_of_its_arguments(report: CalibrationReport, data: Any) -> None:
    assert CalibrationReport.from_log_probs(*data, **FACTS) == report
    other = CalibrationReport.from_log_probs(*data, **FACTS, seed=1)
    assert other.nll == intervals(metrics.example_scores(*data), seed=1)["nll"] != report.nll
    assert other.ece_noise == ece_noise(metrics.example_scores(*data).confidence, seed=1) != report.ece_noise
    few = CalibrationReport.from_log_probs(*data, **FACTS, resamples=5)
    assert few.nll.value == report.nll.value
    assert few.nll.low != report.nll.low


def test_report_is_frozen(report: CalibrationReport) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.n = 1  # type: ignore[misc]


# JSON


def test_json_round_trip(report: CalibrationReport, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    text = report.to_json(path)
    assert path.read_text(encoding="utf-8") == text
    for source in (path, str(path), text):
        assert CalibrationReport.from_json(source) == report
    assert CalibrationReport.from_dict(report.to_dict()) == report


def test_facts_left_out_are_null_and_come_back_as_none(data: Any) -> None:
    bare = CalibrationReport.from_log_probs(*data, resamples=10)
    assert json.loads(bare.to_json())["seconds"] is None
    assert CalibrationReport.from_json(bare.to_json()) == bare


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_json_has_no_nan(data: Any, value: float) -> None:
    report = CalibrationReport.from_log_probs(*data, mutual_information=value, seconds=value, resamples=10)
    text = report.to_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["mutual_information"] is None
    assert CalibrationReport.from_json(text).seconds is None


def test_numpy_scalars_are_written_as_numbers(data: Any) -> None:
    facts = {"draws": np.int64(3), "seconds": np.float32(0.5), "peak_memory_bytes": np.int64(7)}
    values = json.loads(CalibrationReport.from_log_probs(*data, **facts, resamples=10).to_json())
    assert {name: values[name] for name in facts} == {"draws": 3, "seconds": 0.5, "peak_memory_bytes": 7}


def test_failed_write_leaves_the_old_file_and_nothing_else(
    report: CalibrationReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.to_json(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_keys_of_a_later_version_are_ignored(report: CalibrationReport) -> None:
    assert CalibrationReport.from_dict({**report.to_dict(), "auroc": 0.9}) == report


def test_what_is_not_a_report_is_an_error(report: CalibrationReport, tmp_path: Path) -> None:
    values = report.to_dict()
    del values["bins"]
    with pytest.raises(DataError, match=r"not a calibration report: KeyError 'bins'\. Pass what to_json"):
        CalibrationReport.from_dict(values)
    with pytest.raises(DataError, match="not a calibration report: TypeError"):
        CalibrationReport.from_dict({**report.to_dict(), "nll": 3.0})
    with pytest.raises(DataError, match="not a calibration report"):
        CalibrationReport.from_json('{"a": 1}')
    with pytest.raises(DataError, match="the string is not JSON"):
        CalibrationReport.from_json("{")
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="not a calibration report"):
        CalibrationReport.from_json(tmp_path / "list.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(DataError, match=r"text\.json is not JSON"):
        CalibrationReport.from_json(tmp_path / "text.json")
    with pytest.raises(FileError, match=r"absent.json' can't be read: No such file"):
        CalibrationReport.from_json(tmp_path / "absent.json")


def test_a_report_that_lacks_a_metric_is_an_error(report: CalibrationReport) -> None:
    values = report.to_dict()
    del values["aurc"]
    with pytest.raises(DataError, match="not a calibration report: KeyError 'aurc'"):
        CalibrationReport.from_dict(values)


def test_a_metric_is_asked_for_by_name(report: CalibrationReport) -> None:
    assert report.metric("aurc") == report.metrics["aurc"]
    for name in ("mce", "nonsense"):
        with pytest.raises(
            ConfigError, match=f"no metric '{name}' with an interval, but accuracy, nll, skill, brier, ece"
        ):
            report.metric(name)


# Words


def test_refusing_is_said_to_help_only_where_it_does(simulate: Any) -> None:
    useful = CalibrationReport.from_log_probs(*simulate(2000, 4, sharpness=3), resamples=100)
    kept = 100 * useful.metric("accuracy_at_coverage.0.8").value
    before = 100 * useful.accuracy.value
    assert useful.headline.endswith(
        f"; refuse the least certain 20 % and accuracy rises from {before:.1f} to {kept:.1f} %"
    )
    useless = CalibrationReport.from_log_probs(np.log([[0.7, 0.3]] * 10), [0] * 7 + [1] * 3, resamples=100)
    assert useless.headline.endswith("; refusing the least certain 20 % does not clearly help: accuracy 70.0 to 70.0 %")


@pytest.mark.parametrize(
    ("confidences", "accuracies", "kind", "text"),
    [
        ((0.9, 0.8), (0.8, 0.7), "over", "over-confident by 10.0 points"),
        ((0.6, 0.8), (0.7, 0.95), "under", "under-confident by 12.5 points"),
        ((0.95, 0.7), (0.95, 0.7), "calibrated", "well calibrated, as far as 2,000 rows show"),
        ((0.6, 0.9), (0.8, 0.7), "both", "over- and under-confident by 20.0 points"),
        ((0.6, 0.9), (0.61, 0.7), "over", "over-confident by 9.5 points"),
        ((0.8, 0.8), (0.8, 0.8), "no_skill", "no better than the base rates"),
    ],
)
def test_a_verdict_names_the_side_and_the_points(confidences: Any, accuracies: Any, kind: str, text: str) -> None:
    report = CalibrationReport.from_log_probs(*two_groups(confidences, accuracies), resamples=200)
    assert (report.verdict.kind, str(report.verdict)) == (kind, text)
    assert report.headline.startswith(f"{text} (confidence ")
    points = {"over": 0.1, "under": 0.125, "both": 0.2}
    if confidences[0] != 0.6 or kind != "over":
        assert report.verdict.points == (pytest.approx(points[kind]) if kind in points else None)


def test_a_model_that_always_answers_the_majority_is_not_praised() -> None:
    """129 of 200 rows are of class 1, it always says so with 64.5 %: calibrated, and worth nothing."""
    labels = (np.arange(200) < 129).astype(int)
    report = CalibrationReport.from_log_probs(
        np.log(np.tile([[0.355, 0.645]], (200, 1))), labels, class_names=("no", "yes")
    )
    assert report.ece.value <= report.ece_noise
    assert report.verdict.kind in ("no_skill", "too_few")
    assert report.verdict.tone == "mixed"
    assert "always answering 'yes' is right in 64.5 %, skill 0 %" in report.headline
    more = CalibrationReport.from_log_probs(np.log(np.tile([[0.355, 0.645]], (2000, 1))), np.tile(labels, 10))
    assert more.verdict.kind == "no_skill"
    assert "base rates" in more.verdict.reason


def test_a_few_rows_say_that_they_are_few() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.6, 0.99, 11)
    report = CalibrationReport.from_log_probs(np.log(np.stack([confidence, 1 - confidence], 1)), [0] * 9 + [1] * 2)
    assert str(report.verdict) == "too few rows to tell: 11"
    assert report.power < 0.3
    noise = f"a calibration error of up to {100 * report.ece_noise:.1f} % among 11 rows"
    assert noise in report.verdict.reason
    assert f"noticed in only {100 * report.power:.0f} of 100 such test sets" in report.verdict.reason


@pytest.mark.parametrize("label", [0, 1])
def test_one_example_never_shows_miscalibration(label: int) -> None:
    report = CalibrationReport.from_log_probs(np.log([[0.7, 0.3]]), [label])
    assert str(report.verdict) == "too few rows to tell: 1"


def test_one_class_and_perfect_predictions_report_without_warnings() -> None:
    with np.errstate(divide="ignore"):
        perfect = np.log(np.eye(3))
    for log_probs, labels in ((np.zeros((5, 1)), [0] * 5), (perfect, [0, 1, 2])):
        report = CalibrationReport.from_log_probs(log_probs, labels)
        n = len(labels)
        # Even where all are right: Clopper and Pearson's (1 - p)^n = .025, and a calibration error that is not seen yet.
        assert (report.accuracy.value, report.accuracy.high) == (1.0, 1.0)
        assert report.accuracy.low == pytest.approx(0.025 ** (1 / n))
        assert (report.nll.value, report.nll.low, report.brier.value, report.brier.low) == (0, 0, 0, 0)
        # With one class nothing can be wrong; of three, a share of wrong ones that went unseen would cost this much.
        unseen = 1 - 0.025 ** (1 / n)
        assert report.nll.high == pytest.approx(0.0 if log_probs.shape[1] == 1 else unseen * -metrics.LOG_ZERO)
        assert report.brier.high == pytest.approx(2 * unseen)
        assert (report.ece.value, report.ece.low) == (0.0, 0.0)
        assert report.ece.high > 0.5
        assert report.entropy == report.ece_noise == 0
        assert "0.0 %" in str(report)


def test_table_says_everything_in_aligned_columns(report: CalibrationReport) -> None:
    text = str(report)
    lines = text.splitlines()
    assert lines[0] == f"MRPC test, melora: {report.headline}"
    assert lines[0].startswith("MRPC test, melora: over-confident by ")
    for part in (
        f"{100 * report.accuracy.value:.1f} %",
        f"[{100 * report.ece.low:.1f}, {100 * report.ece.high:.1f}]",
        f"{report.nll.value:.3f}",
        f"sampling noise alone reaches {100 * report.ece_noise:.1f} %",
        "300 in 4 classes",
        "10 in 2 forward passes",
        "3.25 s",
        "1,024 trainable of 1,024,000 (0.1 %)",
        "1.50 GiB",
        "0.030",
    ):
        assert part in text
    assert len({line.index("[") for line in lines[3:8]}) == 1
    assert not any(line != line.rstrip() for line in lines)


def test_table_shows_unknown_facts_as_unknown(data: Any) -> None:
    bare = CalibrationReport.from_log_probs(*data, resamples=10, trainable_parameters=5)
    lines = {line[:18].strip(): line[18:].strip() for line in str(bare).splitlines()[3:]}
    assert str(bare).startswith("Over-confident by ")
    assert (lines["Time"], lines["Peak memory"], lines["Parameters"]) == ("-", "-", "5 trainable")
    assert lines["Draws"] == "1"


def test_errors_of_the_inputs_pass_through(data: Any) -> None:
    with pytest.raises(DataError, match="labels has shape"):
        CalibrationReport.from_log_probs(data[0], data[1][:-1])
    with pytest.raises(ConfigError, match="resamples=0 must be a whole number, at least 1"):
        CalibrationReport.from_log_probs(*data, resamples=0)
