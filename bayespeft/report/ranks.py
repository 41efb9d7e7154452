"""The interval of an AUROC, P(a positive's score is above a negative's), from its value and the sizes of both groups.

Newcombe 2006, Statistics in Medicine 25(4), pages 559 to 573, method 5: the values t that the observed one is within z standard
errors of, with the standard error that Hanley & McNeil (1982, Radiology 143) give an AUROC of t,

    t (1 - t) (1 + (N - 1) ((1 - t) / (2 - t) + t / (1 + t))) / (m n),    N = (m + n) / 2.

It is never without width, and holds for few of a kind, where resampling makes intervals that are too narrow.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from bayespeft.report.metric import Metric

# Near 0 the standard error goes with the root of an end, which so must be as fine as numbers are there.
FINE = 1e-24


def rank_interval(auroc: float, m: float, n: float, level: float = 0.95) -> Metric:
    """Return an AUROC with its interval.

    Args:
        auroc: in [0, 1].
        m: positives, at least 1.
        n: negatives, at least 1.
        level: coverage that the interval aims at.
    """
    from scipy.optimize import brentq  # slow to import

    z = NormalDist().inv_cdf((1 + level) / 2)

    def beyond(t: float) -> float:
        own = (1 - t) / (2 - t) + t / (1 + t)
        return abs(t - auroc) - z * math.sqrt(max(t * (1 - t) * (1 + ((m + n) / 2 - 1) * own) / (m * n), 0.0))

    # At the value itself nothing is beyond, nor at 0 and 1, where the standard error is 0: these are no ends.
    inside, outside = auroc * (1 - 1e-12), auroc + (1 - auroc) * 1e-12
    low = float(brentq(beyond, 0.0, inside, xtol=FINE)) if auroc > 0 > beyond(inside) else 0.0
    high = float(brentq(beyond, outside, 1.0, xtol=FINE)) if auroc < 1 and beyond(outside) < 0 else 1.0
    return Metric(auroc, min(low, auroc), max(high, auroc))
