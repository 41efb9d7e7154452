"""Intervals of how well other data are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from bayespeft.report import metrics
from bayespeft.report.detection_intervals import alarm_interval, precision_interval
from bayespeft.report.proportions import exact


def test_the_variance_of_average_precision_is_that_of_the_jackknife() -> None:
    """Leaving out one example of either set, and the interval that as many independent hits would have."""
    rng = np.random.default_rng(3)
    # Rounded, so that there are groups of equal scores.
    negatives, positives = rng.normal(0, 1, 300).round(1), rng.normal(1.5, 1, 200).round(1)
    found = precision_interval(negatives, positives)
    assert found.value == metrics.average_precision(negatives, positives)
    without = [
        np.array([metrics.average_precision(np.delete(negatives, i), positives) for i in range(300)]),
        np.array([metrics.average_precision(negatives, np.delete(positives, i)) for i in range(200)]),
    ]
    variance = sum((len(values) - 1) * values.var() for values in without)
    count = found.value * (1 - found.value) / variance
    assert (found.low, found.high) == pytest.approx(exact(found.value, count), abs=0.003)


def test_few_positives_can_not_bound_the_threshold_from_below() -> None:
    """All of 71 positives are above their law's 5 % quantile with probability .95^71 > .025."""
    negatives = np.linspace(0, 1, 200)
    assert alarm_interval(negatives, np.linspace(0.5, 2, 71)).high == 1
    assert alarm_interval(negatives, np.linspace(0.5, 2, 72)).high < 1


@pytest.mark.parametrize(("n", "m"), [(40, 100), (400, 72), (2000, 500)])
def test_intervals_of_fpr95_cover_at_least_as_stated(n: int, m: int) -> None:
    """Normals 1.5 apart: FPR95 is Phi(-(1.5 - 1.645))."""
    truth, trials = norm.sf(1.5 - norm.ppf(0.95)), 200
    rng = np.random.default_rng(0)
    found = [alarm_interval(rng.normal(size=n), 1.5 + rng.normal(size=m)) for _ in range(trials)]
    # 181 or fewer of 200 would come of .95 with a probability below 1 in 200.
    assert sum(one.low <= truth <= one.high for one in found) > 181
