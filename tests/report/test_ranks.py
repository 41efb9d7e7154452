from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import ndtr

from bayespeft.report.metrics.detection import auroc
from bayespeft.report.ranks import rank_interval


@example(value=1.192092896e-07, m=54, n=61)
@given(value=st.floats(0, 1), m=st.integers(1, 500), n=st.integers(1, 500))
def test_ends_are_where_the_value_is_196_standard_errors_off(value: float, m: int, n: int) -> None:
    found = rank_interval(value, m, n)
    assert 0 <= found.low <= value <= found.high <= 1
    assert found.low < found.high
    for end in {found.low, found.high} - {0.0, 1.0}:
        own = (1 - end) / (2 - end) + end / (1 + end)
        variance = end * (1 - end) * (1 + ((m + n) / 2 - 1) * own) / (m * n)
        assert abs(end - value) == pytest.approx(1.959964 * variance**0.5, rel=1e-4, abs=1e-9)


def test_the_interval_of_one_minus_the_value_is_mirrored() -> None:
    found, mirrored = rank_interval(0.8, 7, 30), rank_interval(0.2, 30, 7)
    assert (1 - found.high, 1 - found.low) == pytest.approx((mirrored.low, mirrored.high))


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_few_positives_hold_the_populations_auroc(shift: float) -> None:
    """Normal scores, eight against forty: at least 95 % of 400 samples, within 4 standard errors."""
    rng, truth = np.random.default_rng(0), float(ndtr(shift / 2**0.5))
    held = 0
    for _ in range(400):
        found = rank_interval(auroc(rng.normal(size=40), shift + rng.normal(size=8)), 8, 40)
        held += found.low <= truth <= found.high
    assert held / 400 >= 0.95 - 4 * (0.95 * 0.05 / 400) ** 0.5
