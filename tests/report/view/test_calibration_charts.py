"""Charts of calibration."""

from __future__ import annotations

from tests.report.view.evil import (
    regression,
)


def test_bars_do_not_hide_where_the_band_ends() -> None:
    report = regression()
    svg = str(report.view.page(report).pictures["pit"][1].svg)
    assert svg.rindex("<rect") < svg.index('class="line edge"')
    assert svg.index('class="band"') < svg.index("<rect")
    assert svg.count('class="line edge"') == 2
