"""Rows where they are: read one by one, changed as they are read, and named where a change refuses them."""

from __future__ import annotations

import pytest

from bayespeft.data.row_view import RowView
from bayespeft.errors import DataError


class Endless:
    """A data set as torch's are: it has a length, and any number gives a row."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 3

    def __getitem__(self, number):
        self.read.append(number)
        return {"x": number}


def test_only_what_is_asked_for_is_read_and_iterating_ends():
    items = Endless()
    view = RowView(items)
    assert view[1] == {"x": 1}
    assert view[::2] == [{"x": 0}, {"x": 2}]
    assert items.read == [1, 0, 2]
    assert list(view) == [{"x": 0}, {"x": 1}, {"x": 2}]


def test_changes_are_made_in_their_order_when_a_row_is_read():
    def refuse(row):
        if row["x"] == 3:
            raise DataError("no threes")
        return row

    view = RowView(Endless()).changed(lambda row: {"x": row["x"] + 1})
    assert view.changed(lambda row: {"x": 10 * row["x"]})[1] == {"x": 20}
    refused = view.changed(refuse)
    assert refused[0] == {"x": 1}
    with pytest.raises(DataError, match="row 2: no threes"):
        list(refused)
    assert list(view) == [{"x": 1}, {"x": 2}, {"x": 3}], "a view is not changed by another"
