"""Pictures of regressions."""

from __future__ import annotations

import numpy as np
import pytest

from bayespeft.errors import ConfigError
from tests.report.quantities import simulated


def test_it_draws_itself(tmp_path):
    report = simulated(name="data")
    figure = report.plot(tmp_path / "r.png")
    assert (tmp_path / "r.png").stat().st_size > 10_000
    histogram, curve = figure.axes
    heights = [patch.get_height() for patch in histogram.patches[-20:]]
    np.testing.assert_allclose(heights, 100 * np.asarray(report.pit) / 500)
    line = next(line for line in curve.lines if line.get_label() == "targets")
    np.testing.assert_allclose(line.get_ydata(), 100 * np.asarray(report.curve))
    with pytest.raises(ConfigError, match=r"\.png"):
        report.plot(tmp_path / "r.txt")
