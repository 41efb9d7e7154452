"""Charts put numbers where they belong."""

from __future__ import annotations

import re

import pytest

from bayespeft.report.view.svg import Chart, ticks
from tests.report.view.evil import (
    EVIL,
    Reader,
)


def test_charts_put_numbers_where_they_belong() -> None:
    chart = Chart((0, 10), (-1, 1), x_label=EVIL, y_label="y", description=EVIL)
    assert chart.at_x(0) < chart.at_x(5) == (chart.at_x(0) + chart.at_x(10)) / 2
    assert chart.at_y(1) < chart.at_y(-1)
    chart.line([(0, 0.0), (1, None), (2, float("nan")), (3, 1.0), (4, 0.0)], "a")
    path = re.findall(r'class="line a" d="([^"]*)"', chart.svg())[0]
    assert path.count("M") == 2
    assert path.count("L") == 1
    assert Reader(chart.svg()).tags[0] == "svg"


@pytest.mark.parametrize("span", [(0, 1), (0, 0.003), (-5, 17), (0, 123_456), (2.4e9, 2.5e9), (0.98, 1.02)])
def test_ticks_are_few_distinct_and_within(span: tuple[float, float]) -> None:
    found = ticks(span)
    assert 2 <= len(found) <= 7
    assert all(span[0] - 1e-9 <= value <= span[1] * (1 + 1e-9) for value in found)
    assert len(set(found.values())) == len(found)
