"""What each example contributes to a metric, kept with a run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.compare.scores import contributions, decode, encode
from bayespeft.report.metrics import accuracy, brier, nll
from tests.compare.made import log_probs, predictions


@given(st.integers(0, 2**20), st.integers(1, 60))
def test_contributions_average_to_the_metrics_and_are_kept(seed, n):
    g = np.random.default_rng(seed)
    found, labels = log_probs(g.normal(0, 2, n)), g.integers(0, 2, n)
    scores = contributions(found, labels)
    for name, metric in (("accuracy", accuracy), ("nll", nll), ("brier", brier)):
        assert scores[name].mean() == pytest.approx(metric(found, labels), abs=1e-12)
    kept = decode(encode(scores))
    assert kept.keys() == scores.keys()
    for name, values in scores.items():
        np.testing.assert_array_equal(kept[name], values.astype(np.float32))


def test_ten_thousand_examples_take_150_kilobytes():
    g = np.random.default_rng(0)
    labels, method = predictions(g, 10_000)
    assert sum(map(len, encode(contributions(log_probs(method()), labels)).values())) < 160_000
