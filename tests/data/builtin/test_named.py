"""Rows that know the names of their classes are a list like any other."""

from __future__ import annotations

from bayespeft.data.builtin.named import NamedRows
from bayespeft.data.class_names import names_in

ROWS = [{"text": str(k), "label": k % 2} for k in range(5)]


def test_slices_and_selections_keep_the_names():
    named = NamedRows(ROWS, ("even", "odd"))
    assert named == ROWS
    assert named[3] is ROWS[3]
    for some, expected in (
        (named[1:4], ROWS[1:4]),
        (named[::-2], ROWS[::-2]),
        (named.select([4, 0]), [ROWS[4], ROWS[0]]),
    ):
        assert some == expected
        assert names_in(some) == ("even", "odd")


def test_no_names_are_none():
    assert names_in(NamedRows(ROWS)) == ()
    assert names_in(NamedRows(ROWS, ("LABEL_0", "LABEL_1"))) == ()
