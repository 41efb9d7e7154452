from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from bayespeft.report.proportions import exact, proportion


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (3, 10), (90, 100), (200, 200)])
def test_the_interval_is_scipys(k: int, n: int) -> None:
    expected = binomtest(k, n).proportion_ci(0.95, method="exact")
    assert exact(k / n, n) == pytest.approx((expected.low, expected.high))
    assert proportion(k / n, n).value == k / n


@pytest.mark.parametrize("n", [1, 20, 50, 300])
def test_it_covers_at_least_as_often_as_stated_at_every_proportion(n: int) -> None:
    """Exactly, by summing the binomial law; and it is never of width zero."""
    k = np.arange(n + 1)
    low, high = np.array([exact(hits / n, n) for hits in k]).T
    assert (high > low).all()
    for p in np.linspace(0.001, 0.999, 97):
        assert binom.pmf(k, n, p)[(low <= p) & (p <= high)].sum() >= 0.95 - 1e-9


def test_hits_that_are_not_whole_are_between_their_neighbours() -> None:
    below, at, above = (exact(k / 20, 20) for k in (7, 7.5, 8))
    assert below[0] < at[0] < above[0]
    assert below[1] < at[1] < above[1]
