"""The interval of a calibration error covers the population's, and is what its formula says."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import stdtrit

from bayespeft.report.deviation import deviation


def test_both_ends_are_the_formula():
    distances, z = np.linspace(0, 0.1, 1001), NormalDist().inv_cdf(0.975)
    found = deviation(0.2, distances, 0.25, 400)
    assert found.value == 0.2
    wider = stdtrit(399, 0.975) / z * (400 / 399) ** 0.5
    assert found.low == pytest.approx(0.2 - wider * 0.0975)
    assert found.high == pytest.approx(0.2 + z * (0.25 / 400) ** 0.5 + z**2 / 400)


def test_ends_stay_within_what_an_error_can_be_and_around_the_value():
    assert deviation(0.01, np.full(10, 0.5), 0.0, 10**9).low == 0.0
    assert deviation(0.99, np.zeros(10), 1.0, 3).high == 1.0
    exact = deviation(0.3, np.zeros(10), 0.0, 10**12)
    assert exact.low == 0.3 <= exact.high


def test_it_covers_the_error_of_one_bin():
    """One bin, confidence 0.8, accuracy 0.7: |gap| is 0.1 in the population."""
    rng, n, covered, times = np.random.default_rng(0), 300, 0, 400
    for _ in range(times):
        gaps = (rng.random(n) < 0.7) - 0.8
        resampled = gaps[rng.integers(0, n, (200, n))].mean(axis=1)
        found = deviation(abs(gaps.mean()), np.abs(resampled - gaps.mean()), float((gaps**2).mean()), n)
        covered += found.low <= 0.1 <= found.high
    # At least 95 %, less three standard errors of 400 samples.
    assert covered / times >= 0.95 - 3 * (0.95 * 0.05 / times) ** 0.5
