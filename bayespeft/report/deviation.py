"""Intervals of calibration errors that are sums of absolute gaps, such as the ECE: they cover the population's error.

With G_b = sum over a bin's examples of (correct - confidence) / n and g_b its expectation, the sample has E = sum_b |G_b| and
the population e = sum_b |g_b|, over the same bins. Noise makes E too large, so that resampling's percentiles say nothing of e.

- E - e <= D = sum_b |G_b - g_b|, whose law resampling gives: the lower end is E less a quantile of sum_b |G*_b - G_b|, wider by
  as much as Student's quantile is than the normal one, and by sqrt(n / (n - 1)). It is 0 unless there is more error than noise
  makes, and for one example.
- e - sum_b s_b G_b, with the signs s_b of g_b, has mean 0, and sum_b s_b G_b <= E: an average of n terms none of which is
  larger than |correct - confidence|. So the upper end is E + z sqrt(mean of (correct - confidence)^2 / n) + z^2 / n; the last
  term is what a proportion needs where no error was seen (Wilson 1927).

Together they cover e in at least the stated share of samples.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from scipy.special import stdtrit

from bayespeft.report.binning import Floats
from bayespeft.report.metric import Metric


def deviation(value: float, distances: Floats, square: float, n: int, level: float = 0.95) -> Metric:
    """Return a sum of absolute gaps, in [0, 1], with the interval of the population's.

    Args:
        value: E.
        distances: (R,) sum_b |G*_b - G_b| of each resample.
        square: mean over examples of the square of the largest term that one can add.
        n: examples.
        level: coverage that the interval has at least, up to the normal approximation and resampling.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    low = 0.0
    if n > 1:
        wider = float(stdtrit(n - 1, (1 + level) / 2)) / z * math.sqrt(n / (n - 1))
        low = value - wider * float(np.quantile(distances, (1 + level) / 2))
    high = value + z * math.sqrt(square / n) + z * z / n
    return Metric(value, min(max(low, 0.0), value), max(min(high, 1.0), value))
