"""Calibration over examples with several labels."""

from __future__ import annotations

import numpy as np
import pytest

from bayespeft.report import MultiLabelReport
from bayespeft.report.grouped import pooled_calibration
from bayespeft.report.metrics import ece
from tests.report.labelled import OPTIONS, law


def test_the_pooled_error_is_that_of_the_probabilities_as_they_are():
    """The ECE of one label's probability, told from that of the more probable answer."""
    on, off, y = law(300, 1)
    p = np.exp(on[:, 0])
    found = pooled_calibration(p, y[:, 0].astype(float), np.arange(300), 300, **OPTIONS)
    edges = np.minimum((p * 15).astype(int), 14)
    own = sum(abs((y[edges == b, 0] - p[edges == b]).sum()) for b in range(15)) / 300
    assert found.ece.value == pytest.approx(own)
    assert MultiLabelReport.from_log_probs(on, off, y, **OPTIONS).ece.value == pytest.approx(own)
    certain = p >= 0.5  # there both are the same
    both = np.stack([off[certain, 0], on[certain, 0]], 1)
    part = pooled_calibration(
        p[certain], y[certain, 0].astype(float), np.arange(certain.sum()), int(certain.sum()), **OPTIONS
    )
    assert part.ece.value == pytest.approx(ece(both, y[certain, 0]))


def test_intervals_cover_what_endlessly_many_rows_would_give():
    """Labels of a row share a shift, so that rows, not labels, are independent."""
    rng = np.random.default_rng(1)
    truth, covered = None, []
    for trial in range(60):
        n = 40_000 if trial == 0 else 150
        shift = rng.normal(size=(n, 1))
        logits = shift + rng.normal(size=(n, 5))
        y = (rng.random((n, 5)) < 1 / (1 + np.exp(-logits - shift))).astype(int)
        report = MultiLabelReport.from_log_probs(
            -np.logaddexp(0, -logits), -np.logaddexp(0, logits), y, resamples=10 if trial == 0 else 200, seed=trial
        )
        if trial == 0:
            truth = report
        else:
            found = [
                getattr(report, name).low <= getattr(truth, name).value <= getattr(report, name).high
                for name in ("nll", "micro_f1", "label_accuracy", "ece")
            ]
            covered.append(found)
    # Of 59 intervals that cover 95 of 100 times, 50 or fewer cover with a probability below 1 in 1000.
    assert (np.sum(covered, axis=0) > 50).all()
