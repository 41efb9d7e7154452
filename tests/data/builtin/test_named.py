"""Rows that know the names of their classes are a list like any other."""

from __future__ import annotations

import copy
import pickle

import pytest
from torch.utils.data import ConcatDataset

from bayespeft.data.builtin.named import NamedRows
from bayespeft.data.class_names import names_in
from bayespeft.errors import DataError

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


def test_copies_sums_and_multiples_keep_the_names():
    named = NamedRows(ROWS, ("even", "odd"))
    longer = NamedRows(ROWS, ("even", "odd"))
    longer += named
    for some, expected in (
        (named.copy(), ROWS),
        (copy.copy(named), ROWS),
        (copy.deepcopy(named), ROWS),
        (pickle.loads(pickle.dumps(named)), ROWS),
        (named[:2] + named[2:], ROWS),
        (named + ROWS, ROWS * 2),
        (ROWS + named, ROWS * 2),
        (named + NamedRows(ROWS), ROWS * 2),
        (NamedRows(ROWS) + named, ROWS * 2),
        (longer, ROWS * 2),
        (named * 2, ROWS * 2),
        (2 * named, ROWS * 2),
        (ConcatDataset([named, named]), None),
        (ConcatDataset([ROWS, named]), None),
    ):
        assert expected is None or some == expected
        assert names_in(some) == ("even", "odd")


def test_rows_that_are_numbered_differently_are_not_put_together():
    named, other = NamedRows(ROWS, ("even", "odd")), NamedRows(ROWS, ("odd", "even"))
    for together in (
        lambda: named + other,
        lambda: named.extend(other),
        lambda: named.__iadd__(other),
        lambda: names_in(ConcatDataset([named, other])),
    ):
        with pytest.raises(DataError, match="calls its classes 0 'even', 1 'odd', and another 0 'odd', 1 'even'"):
            together()
    assert named == ROWS


def test_a_dataset_of_named_rows_has_their_names():
    rows = [{"text": word, "label": number % 2} for number, word in enumerate("abcd")]
    data = NamedRows(rows, ("even", "odd")).to_dataset()
    assert data.features["label"].names == ["even", "odd"]
    assert names_in(data) == ("even", "odd")
    assert list(data) == rows
    assert names_in(data.train_test_split(2)["test"]) == ("even", "odd")
    assert names_in(NamedRows(rows).to_dataset()) == ()
