"""Reports on quantities whose law is known."""

from __future__ import annotations

import numpy as np

from bayespeft.report.regression import RegressionReport


def simulated(n: int = 500, true: float = 1.0, shift: float = 0.0, claimed: float = 1.0, d: int = 1, **options):
    rng = np.random.default_rng(0)
    m = rng.normal(size=(1, n, d)) + 0.1 * rng.normal(size=(3, n, d))
    y = m[rng.integers(0, 3, n), np.arange(n)] + true * rng.normal(size=(n, d))
    return RegressionReport.from_mixture(m + shift, np.full((1, n, d), claimed), y, resamples=200, **options)
