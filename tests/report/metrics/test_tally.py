"""Figures of resamples, from counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bayespeft.report import metrics
from bayespeft.report.bootstrap import replicates
from bayespeft.report.metrics.selective import COVERAGES, METRICS, RISKS
from bayespeft.report.metrics.tally import Ordered


@pytest.mark.parametrize("digits", [1, 12])
def test_figures_of_resamples_are_those_of_the_resampled_examples(digits: int, simulate: Any) -> None:
    log_probs, labels = simulate(53, 3)
    probs = np.round(np.exp(log_probs), digits) + 1e-3
    log_probs = np.log(probs / probs.sum(axis=1, keepdims=True))
    ordered = Ordered.of(metrics.example_scores(log_probs, labels))
    found = replicates(ordered, {spec.name: (spec, 20) for spec in METRICS}, resamples=20, seed=3)
    picks = ordered.order[np.random.default_rng(3).integers(0, 53, size=(20, 53))]
    for name in ("aurc", "excess_aurc", "augrc", "error_auroc", "error_average_precision"):
        expected = [getattr(metrics, name)(log_probs[rows], labels[rows]) for rows in picks]
        assert found[name] == pytest.approx(expected, abs=1e-12)
    for name, points in (("accuracy_at_coverage", COVERAGES), ("coverage_at_risk", RISKS)):
        for at in points:
            expected = [getattr(metrics, name)(log_probs[rows], labels[rows], at) for rows in picks]
            assert found[f"{name}.{at:g}"] == pytest.approx(expected, abs=1e-12)
