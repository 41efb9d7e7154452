"""Figures of several labels an example: against scikit-learn and closed forms, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from bayespeft.errors import DataError
from bayespeft.report import MultiLabelReport
from tests.report.labelled import OPTIONS, law


def test_figures_are_those_of_scikit_learn():
    on, off, y = law(200, 4)
    y[:, 3] = 0  # a label that nobody has
    report = MultiLabelReport.from_log_probs(on, off, y, names=("a", "b"), **OPTIONS)
    p, predicted = np.exp(on), np.exp(on) >= 0.5
    assert report.micro_f1.value == pytest.approx(metrics.f1_score(y, predicted, average="micro"))
    assert report.macro_f1 == pytest.approx(metrics.f1_score(y, predicted, average="macro", zero_division=0))
    assert report.subset_accuracy.value == pytest.approx(metrics.accuracy_score(y, predicted))
    assert report.label_accuracy.value == pytest.approx(1 - metrics.hamming_loss(y, predicted))
    losses = [metrics.log_loss(y[:, i], p[:, i], labels=[0, 1]) for i in range(4)]
    assert report.nll.value == pytest.approx(sum(losses))
    assert report.brier.value == pytest.approx(((p - y) ** 2).mean())
    base = sum(metrics.log_loss(y[:, i], np.full(200, y[:, i].mean()), labels=[0, 1]) for i in range(4))
    assert report.base_nll == pytest.approx(base)
    assert report.skill.value == pytest.approx(1 - sum(losses) / base)
    for i, own in enumerate(report.by_label):
        assert own.n == y[:, i].sum()
        if own.precision is not None:
            assert own.precision.value == pytest.approx(metrics.precision_score(y[:, i], predicted[:, i]))
        if own.recall is not None:
            assert own.recall.value == pytest.approx(metrics.recall_score(y[:, i], predicted[:, i]))
    assert [own.name for own in report.by_label] == ["a", "b", "2", "3"]
    assert report.by_label[3].recall is None
    assert report.entropy == pytest.approx(-(p * on + (1 - p) * off).sum(1).mean())


def test_verdicts_name_what_is_wrong():
    assert MultiLabelReport.from_log_probs(*law(3000, 3), **OPTIONS).verdict.kind == "calibrated"
    assert MultiLabelReport.from_log_probs(*law(3000, 3, truth=0.4), **OPTIONS).verdict.kind == "over"
    assert MultiLabelReport.from_log_probs(*law(3000, 3, truth=2.5), **OPTIONS).verdict.kind == "under"
    assert MultiLabelReport.from_log_probs(*law(20, 2), **OPTIONS).verdict.kind == "too_few"
    rng = np.random.default_rng(0)
    rare = (rng.random((3000, 3)) < 0.1).astype(int)
    claim = np.full((3000, 3), 0.3)
    assert MultiLabelReport.from_log_probs(np.log(claim), np.log(1 - claim), rare, **OPTIONS).verdict.kind == "under"
    claim = np.where(rng.random((3000, 3)) < 0.5, 0.35, 0.65)
    rates = claim - 0.15
    y = (rng.random((3000, 3)) < rates).astype(int)
    assert MultiLabelReport.from_log_probs(np.log(claim), np.log(1 - claim), y, **OPTIONS).verdict.kind == "high"
    base = np.full((3000, 3), 0.1)
    none = MultiLabelReport.from_log_probs(np.log(base), np.log(1 - base), rare, **OPTIONS)
    assert none.verdict.kind == "no_skill"
    assert "no better than the base rates" in none.headline


def test_labels_that_come_by_the_row_widen_the_intervals():
    """Ten copies of each label in its row say no more than one: the interval must not shrink with their number."""
    on, off, y = law(300, 1)
    one = MultiLabelReport.from_log_probs(on, off, y, resamples=400)
    ten = MultiLabelReport.from_log_probs(*(np.repeat(part, 10, axis=1) for part in (on, off, y)), resamples=400)
    for name in ("micro_f1", "label_accuracy", "brier", "ece"):
        single, several = getattr(one, name), getattr(ten, name)
        assert several.value == pytest.approx(single.value)
        assert several.high - several.low == pytest.approx(single.high - single.low, rel=0.2)


def test_bad_input_is_named():
    on, off, y = law(5, 2)
    with pytest.raises(DataError, match=r"labels \(5,\)"):
        MultiLabelReport.from_log_probs(on, off, y[:, 0])
    wrong = on.copy()
    wrong[3, 1] = np.log(2 - np.exp(off[3, 1]))
    with pytest.raises(DataError, match="label 1 at row 3 sum to 2"):
        MultiLabelReport.from_log_probs(wrong, off, y)
    with pytest.raises(DataError, match="row 2 has 3 at label 0"):
        MultiLabelReport.from_log_probs(on, off, np.where(np.arange(5)[:, None] == 2, 3, y))
    with pytest.raises(DataError, match="this is not a report on several labels"):
        MultiLabelReport.from_dict({"accuracy": 1})


def test_a_probability_of_zero_costs_no_infinity():
    report = MultiLabelReport.from_log_probs(np.array([[-np.inf], [0.0]]), np.array([[0.0], [-np.inf]]), [[1], [1]])
    assert report.nll.value == pytest.approx(1074 * np.log(2) / 2)
    assert MultiLabelReport.from_json(report.to_json()) == report
    assert "calibration.ece" in report.to_csv()
