"""The parts of a calibration report beyond its headline metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bayespeft.report import CalibrationReport, Metric, bootstrap, metrics, sections
from bayespeft.report.ood import separations
from bayespeft.report.over_draws import over_draws


@pytest.fixture(scope="module")
def data(simulate: Any) -> Any:
    return simulate(300, 4, temperature=0.6)


def test_parts_hold_the_figures_with_intervals(data: Any) -> None:
    report = CalibrationReport.from_log_probs(*data)
    assert report.errors is not None
    assert report.selective is not None
    for name in ("confidence_gap", "ece_classwise", "ece_debiased", "rms_debiased", "mce", "smooth_ece"):
        found = getattr(report.errors, name)
        value = found if isinstance(found, float) else found.value
        assert value == pytest.approx(getattr(metrics, name)(*data), abs=1e-12)
    for metric in (report.errors.confidence_gap, report.errors.ece_classwise):
        assert metric.low < metric.value < metric.high
    parts = metrics.brier_parts(*data)
    for name, value in parts.items():
        assert getattr(report.errors, f"brier_{name}") == pytest.approx(value, abs=1e-12)
    for name in ("excess_aurc", "error_average_precision"):
        assert getattr(report.selective, name) == pytest.approx(getattr(metrics, name)(*data), abs=1e-12)
    for name in ("aurc", "augrc", "error_auroc"):
        metric = getattr(report.selective, name)
        assert metric.value == pytest.approx(getattr(metrics, name)(*data), abs=1e-12)
        assert metric.low < metric.value < metric.high
    for at in report.selective.accuracy_at_coverage:
        assert at.figure.value == pytest.approx(metrics.accuracy_at_coverage(*data, at.at), abs=1e-12)
    for reached in report.selective.coverage_at_risk:
        assert reached.coverage == pytest.approx(metrics.coverage_at_risk(*data, reached.at), abs=1e-12)
    curve = report.selective.curve
    assert len(curve.coverage) == len(curve.risk) == len(curve.low) == len(curve.high) == 50
    assert curve.risk[-1] == pytest.approx(1 - report.accuracy.value)
    assert all(low <= risk <= high for low, risk, high in zip(curve.low, curve.risk, curve.high, strict=True))


def test_class_wise_resamples_are_those_of_the_other_figures(data: Any) -> None:
    """Each against the plain metric on the resampled examples."""
    log_probs, labels = data[0][:40], data[1][:40]
    ordered = sections.Ordered.of(metrics.example_scores(log_probs, labels))
    found = bootstrap.measure(ordered, {sections.Cells(log_probs, labels, ordered.order): 10}, seed=3)
    picks = ordered.order[np.random.default_rng(3).integers(0, 40, size=(10, 40))]
    expected = [metrics.ece_classwise(log_probs[rows], labels[rows]) for rows in picks]
    assert found["ece_classwise"].draws == pytest.approx(expected, abs=1e-12)
    parts = [metrics.brier_parts(log_probs[rows], labels[rows]) for rows in picks]
    for name in parts[0]:
        assert found[f"brier_{name}"].draws == pytest.approx([part[name] for part in parts], abs=1e-12)


def test_class_wise_figures_take_fewer_resamples_where_all_take_too_long(
    data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK", 300)
    full = CalibrationReport.from_log_probs(*data, resamples=100)
    monkeypatch.setattr(sections, "WORK", 60 * 300 * 4)
    fewer = CalibrationReport.from_log_probs(*data, resamples=100)
    assert full.errors is not None
    assert fewer.errors is not None
    assert fewer.errors.smooth_ece == full.errors.smooth_ece
    assert fewer.errors.ece_classwise.value == full.errors.ece_classwise.value
    assert fewer.errors.ece_classwise != full.errors.ece_classwise
    sixty = CalibrationReport.from_log_probs(*data, resamples=60)
    assert sixty.errors is not None
    assert fewer.errors.ece_classwise == sixty.errors.ece_classwise


def test_parts_made_elsewhere_are_kept_printed_and_read(data: Any) -> None:
    ood = separations({"entropy": [0.0, 0.1, 0.5]}, {"news": {"entropy": [0.4, 0.6]}}, resamples=20)
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
    assert report.selective is not None
    assert report.selective.error_auroc is None
    assert any(line.startswith("AUROC of errors") and " - " in line for line in str(report).splitlines())
    assert CalibrationReport.from_json(report.to_json()) == report


def refusing(before: float, after: float, low: float, high: float) -> str:
    report = CalibrationReport.from_log_probs(np.log([[0.9, 0.1]] * 4), [0] * 4, resamples=10)
    assert report.selective is not None
    gain = Metric(after - before, low, high)
    kept = sections.At(0.8, Metric(after, after, after))
    return replace(report.selective, refusal_gain=gain, accuracy_at_coverage=(kept,)).sentence


def test_a_gain_by_refusing_is_not_rounded_up() -> None:
    said = "refuse the least certain 20 % and accuracy rises from"
    assert refusing(0.994, 0.995, 0.0005, 0.0015) == f"{said} 99.4 to 99.5 %"
    assert refusing(0.80, 0.90, 0.05, 0.15) == f"{said} 80.0 to 90.0 %"


def test_a_loss_by_refusing_is_said() -> None:
    assert refusing(0.8, 0.75, -0.08, -0.02) == "refusing the least certain 20 % lowers accuracy from 80.0 to 75.0 %"
    assert "does not clearly help" in refusing(0.8, 0.79, -0.02, 0.01)


def test_csv_names_other_sets_and_scores(data: Any) -> None:
    sets = {"entropy": [0.4, 0.6], "max_probability": [0.1, 0.2]}
    ood = separations({"entropy": [0.0, 0.5], "max_probability": [0.0, 0.5]}, {"news": sets, "far": sets}, resamples=5)
    text = CalibrationReport.from_log_probs(*data, ood=ood, resamples=5).to_csv()
    rows = {line.split(",")[0] for line in text.splitlines()}
    for name in ("news", "far"):
        for score in ("entropy", "max_probability"):
            assert {f"ood.{name}.{score}.auroc", f"ood.{name}.{score}.n"} <= rows
    assert not any(row.startswith("ood.0") for row in rows)
