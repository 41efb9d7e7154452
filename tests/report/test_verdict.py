"""Verdicts: which kind follows from which figures, at the edges too."""

from __future__ import annotations

import pytest

from bayespeft.report.metric import Metric
from bayespeft.report.verdict import one_sided, two_sided, within_noise

CLEAR, UNCLEAR, NONE = Metric(0.3, 0.1, 0.5), Metric(0.3, -0.1, 0.5), Metric(0.01, -0.02, 0.04)


@pytest.mark.parametrize(("gap", "kind"), [(0.05, "over"), (-0.05, "under"), (0.1, "over"), (0.049, None), (0.0, None)])
def test_half_of_the_error_on_one_side_has_a_name(gap, kind):
    found = one_sided(gap, 0.1, "It is")
    assert (None if found is None else found.kind) == kind
    if found is not None:
        assert found.points == abs(gap)
        assert found.text == f"{kind}-confident by {100 * abs(gap):.1f} points"
        assert found.reason == f"It is {'less' if gap > 0 else 'more'} often right than it claims."


def test_what_is_on_both_sides_counts_whole():
    found = two_sided(0.1, "tokens")
    assert (found.kind, found.points) == ("both", 0.1)
    assert found.reason == "It claims too much for some tokens and too little for others."


@pytest.mark.parametrize(
    ("power", "skill", "kind", "tone"),
    [
        (0.49, CLEAR, "too_few", "mixed"),
        (0.49, UNCLEAR, "too_few", "mixed"),
        (0.49, NONE, "no_skill", "mixed"),
        (0.49, None, "too_few", "mixed"),
        (0.5, CLEAR, "calibrated", "good"),
        (0.5, UNCLEAR, "no_skill", "mixed"),
        (0.5, Metric(0.3, 0.0, 0.5), "no_skill", "mixed"),
        (0.5, None, "no_skill", "mixed"),
    ],
)
def test_few_rows_come_before_no_skill_and_both_before_praise(power, skill, kind, tone):
    found = within_noise(200, 0.04, power, skill, "every row the base rates")
    assert (found.kind, found.tone, found.points) == (kind, tone, None)
    if kind == "no_skill":
        assert found.reason.endswith("better than giving every row the base rates.")


def test_by_very_few_rows_nothing_is_told_but_that():
    assert within_noise(49, 0.04, 0.1, NONE, "every row the base rates").kind == "too_few"


def test_one_row_is_one_row():
    assert within_noise(1, 0.04, 0.9, CLEAR, "x").text == "well calibrated, as far as 1 row shows"
    assert within_noise(1200, 0.04, 0.9, CLEAR, "x").text == "well calibrated, as far as 1,200 rows show"
