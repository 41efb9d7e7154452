"""Bins of equal width and of equal mass, and the errors over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.errors import ConfigError
from bayespeft.report import binning, metrics
from tests.report.metrics.by_hand import GOOD, logs


def test_ece_weighs_bins_by_their_counts() -> None:
    # 30 examples at confidence 0.9, 21 right; 10 examples at 0.6, 9 right.
    log_probs = logs([[0.9, 0.1]] * 30 + [[0.6, 0.4]] * 10)
    labels = [0] * 21 + [1] * 9 + [0] * 9 + [1]
    assert metrics.ece(log_probs, labels) == pytest.approx(0.75 * 0.2 + 0.25 * 0.3)
    assert metrics.ece(log_probs, labels, n_bins=1) == pytest.approx(0.75 * 0.2 - 0.25 * 0.3)


def test_bins_hold_counts_means_and_none_where_empty() -> None:
    bins = metrics.bins(logs([[0.9, 0.1]] * 4 + [[0.65, 0.35], [0.62, 0.38]]), [0, 0, 0, 1, 0, 1])
    assert [(b.low, b.high) for b in bins] == [(pytest.approx(i / 15), pytest.approx((i + 1) / 15)) for i in range(15)]
    filled = {i: b for i, b in enumerate(bins) if b.count}
    assert {i: b.count for i, b in filled.items()} == {13: 4, 9: 2}
    assert filled[13].confidence == pytest.approx(0.9)
    assert filled[13].accuracy == 0.75
    assert filled[9].confidence == pytest.approx(0.635)
    assert filled[9].accuracy == 0.5
    assert all(b.confidence is None and b.accuracy is None for b in bins if not b.count)


@pytest.mark.parametrize("n_bins", [1, 2, 7, 10, 15, 20, 100])
def test_bins_are_closed_below_open_above_and_the_last_is_closed(n_bins: int) -> None:
    edges = np.arange(n_bins) / n_bins
    assert binning.bin_index(edges, n_bins).tolist() == list(range(n_bins))
    assert binning.bin_index(np.nextafter(edges[1:], 0), n_bins).tolist() == list(range(n_bins - 1))
    assert binning.bin_index(np.array([0.0, 1.0]), n_bins).tolist() == [0, n_bins - 1]


@given(n=st.integers(1, 1000), n_bins=st.integers(1, 40))
def test_mass_edges_differ_by_at_most_one(n: int, n_bins: int) -> None:
    edges = binning.mass_edges(n, n_bins)
    assert (edges[0], edges[-1], len(edges)) == (0, n, n_bins + 1)
    assert np.all((np.diff(edges) == n // n_bins) | (np.diff(edges) == -(-n // n_bins)))


@pytest.mark.parametrize("n", [1, 2, 14, 15, 16, 31, 1000])
def test_equal_mass_without_ties_is_the_plain_definition(n: int, simulate: Any) -> None:
    log_probs, labels = simulate(n, 4, temperature=0.5)
    order = np.argsort(log_probs.max(axis=1))
    total = 0.0
    for b in range(15):
        rows = order[b * n // 15 : (b + 1) * n // 15]
        if len(rows):
            right = [log_probs[i].argmax() == labels[i] for i in rows]
            total += len(rows) / n * abs(np.mean(right) - np.mean([np.exp(log_probs[i].max()) for i in rows]))
    assert metrics.ece_equal_mass(log_probs, labels) == pytest.approx(total, abs=1e-12)


def test_equal_mass_shares_the_outcomes_of_ties_between_bins() -> None:
    # Two bins of two; the edge cuts the pair at 0.8, of which one is right: each half counts as half right.
    log_probs = logs([[0.6, 0.4], [0.8, 0.2], [0.8, 0.2], [0.9, 0.1]])
    by_hand = (abs(1 + 0.5 - 0.6 - 0.8) + abs(0.5 + 1 - 0.8 - 0.9)) / 4
    for labels in ([0, 0, 1, 0], [0, 1, 0, 0]):
        assert metrics.ece_equal_mass(log_probs, labels, n_bins=2) == pytest.approx(by_hand)


@pytest.mark.parametrize("n", [1, 7, 15, 100])
def test_equal_mass_of_a_constant_prediction_is_its_one_gap(n: int) -> None:
    labels = (np.arange(n) % 3 == 0).astype(int)
    log_probs = logs([[0.7, 0.3]] * n)
    assert metrics.ece_equal_mass(log_probs, labels) == pytest.approx(abs(0.7 - np.mean(labels == 0)))
    assert metrics.ece(log_probs, labels) == pytest.approx(abs(0.7 - np.mean(labels == 0)))


def test_no_bin_is_an_error() -> None:
    for metric in (metrics.ece, metrics.ece_equal_mass, metrics.bins):
        with pytest.raises(ConfigError, match=r"n_bins is 0: .* at least 1 bin"):
            metric(GOOD, [0, 0], n_bins=0)  # type: ignore[operator]
