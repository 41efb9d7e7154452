"""Sections of the page on calibration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bayespeft.report import CalibrationReport
from tests.report.view.evil import (
    Reader,
)

SECTIONS = {
    "ood": "Does it notice other data?",
    "quotes": "The most confident mistakes",
    "over_draws": "What draws do",
    "training": "Training",
    "setup": "Configuration",
}


def test_every_figure_has_its_error_over_draws(full: CalibrationReport) -> None:
    (table,) = next(s.tables for s in full.view.page(full).sections if s.title == "All figures")
    assert table.header[-1] == "± over draws"
    assert full.over_draws is not None
    assert full.over_draws.errors is not None
    # Labels alone make the others.
    bare = [title for title, _, cells in table.rows if not cells[-1]]
    assert bare == ["Accuracy of the trivial answer", "NLL of the base rates", "Brier: uncertainty"]
    assert len(table.rows) - len(bare) == len(full.over_draws.errors)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_is_there_where_its_part_is(full: CalibrationReport, name: str) -> None:
    empty = () if name == "ood" else None
    headings, without = (Reader(r.to_html()).headings for r in (full, replace(full, **{name: empty})))
    assert SECTIONS[name] in headings
    assert SECTIONS[name] not in without
    assert len(without) < len(headings)
