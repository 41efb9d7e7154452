"""Series that charts draw: by closed forms, and that both media draw the same."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import beta, binom

from bayespeft.report import CalibrationReport, RegressionReport
from bayespeft.report.series import dots, expected, pit, quantiles
from bayespeft.report.view.svg import Chart


@pytest.fixture(scope="module")
def report(simulate: Any) -> CalibrationReport:
    return CalibrationReport.from_log_probs(*simulate(300, 4, temperature=0.6), resamples=10)


@pytest.fixture(scope="module")
def regression() -> RegressionReport:
    rng = np.random.default_rng(0)
    return RegressionReport.from_mixture(
        np.zeros((1, 90, 1)), np.ones((1, 90, 1)), rng.normal(size=(90, 1)), resamples=10
    )


def test_dots_are_the_bins_that_hold_examples(report: CalibrationReport) -> None:
    filled = [b for b in report.bins if b.count]
    for dot, b in zip(dots(report.bins), filled, strict=True):
        assert (dot.left, dot.right, dot.count, dot.confidence, dot.accuracy) == (
            b.low, b.high, b.count, b.confidence, b.accuracy,
        )  # fmt: skip
        hits = dot.accuracy * dot.count
        assert dot.hits == pytest.approx(hits)
        assert dot.kind == ("over" if dot.confidence > dot.accuracy else "under")
        if 0 < dot.hits < dot.count:
            ends = beta.ppf(0.025, hits, dot.count - hits + 1), beta.ppf(0.975, hits + 1, dot.count - hits)
            assert dot.interval == pytest.approx(ends)
        assert dot.expected == pytest.approx(np.array(binom.interval(0.95, dot.count, dot.confidence)) / dot.count)


def test_a_band_holds_what_is_expected_of_so_many() -> None:
    low, high = expected(400, [0.0, 0.5, 1.0])
    assert (low[0], high[0], low[2], high[2]) == (0, 0, 1, 1)
    assert (high[1] - low[1]) / 2 == pytest.approx(1.96 * 0.5 / 20, abs=1 / 400)


def test_shares_of_a_regression_are_counts_over_all(regression: RegressionReport) -> None:
    found = pit(regression.pit, regression.n)
    assert found.x == pytest.approx(np.arange(20) / 20)
    assert np.array(found.y) * 90 == pytest.approx(regression.pit)
    assert set(found.low) == {binom.ppf(0.025, 90, 1 / 20) / 90}
    curve = quantiles(regression.curve, regression.n)
    assert curve.x == pytest.approx(np.arange(21) / 20)
    assert curve.y == regression.curve
    assert all(low <= level <= high for low, level, high in zip(curve.low, curve.x, curve.high, strict=True))


def from_svg(svg: str, chart: Chart, kind: str) -> list[list[tuple[float, float]]]:
    """The points of each path or polygon of a kind, in the chart's own units."""
    found = re.findall(rf'<(?:path|polygon) class="(?:line )?{kind}"[^>]*? (?:d|points)="([^"]*)"', svg)
    left, right, bottom, top = chart.at_x(0), chart.at_x(1), chart.at_y(0), chart.at_y(1)
    numbers = [[float(x) for x in re.findall(r"[\d.]+", path)] for path in found]
    return [
        [((x - left) / (right - left), (y - bottom) / (top - bottom)) for x, y in zip(p[::2], p[1::2], strict=True)]
        for p in numbers
    ]


def in_units(height: int) -> Chart:
    return Chart((0, 1), (0, 1), x_label="", y_label="", description="", height=height)


def test_both_media_draw_the_same_whiskers(report: CalibrationReport) -> None:
    svg = str(report.view.page(report).pictures["reliability"][1].svg)
    paths = from_svg(svg, in_units(340), "whisker")
    axes: Axes = Figure().subplots()
    report.plot(ax=axes)
    drawn = {round(line.get_xdata()[0], 6): line.get_ydata() for line in axes.lines if len(set(line.get_xdata())) == 1}
    found = dots(report.bins)
    assert len(paths) == len(drawn) == len(found)
    for dot, path in zip(found, paths, strict=True):
        assert [y for _, y in path] == pytest.approx(dot.interval, abs=1e-3)
        assert drawn[round((dot.left + dot.right) / 2, 6)] == pytest.approx(dot.interval)


def test_both_media_draw_the_same_curve_and_band(regression: RegressionReport) -> None:
    svg = str(regression.view.page(regression).pictures["quantiles"][1].svg)
    chart = in_units(260)
    (points,) = from_svg(svg, chart, "under")
    (band,) = from_svg(svg, chart, "band")
    found = quantiles(regression.curve, regression.n)
    assert [y for _, y in points] == pytest.approx(found.y, abs=1e-3)
    assert [y for _, y in band] == pytest.approx([*found.high, *reversed(found.low)], abs=1e-3)
    _, axes = regression.plot().axes
    (line,) = (line for line in axes.lines if line.get_label() == "targets")
    assert line.get_ydata() == pytest.approx(100 * np.array(found.y))
    edge = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert {round(y, 6) for y in edge} == {round(100 * y, 6) for y in (*found.low, *found.high)}
