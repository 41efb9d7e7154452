"""Entities: spans of tags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.report import TokenReport
from bayespeft.report.entities import is_scheme, spans, told
from tests.report.tagged import NAMES, OPTIONS


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-A I-A O B-B", [(0, 2, "A"), (3, 4, "B")]),
        ("B-A B-A I-A", [(0, 1, "A"), (1, 3, "A")]),
        ("I-A I-A O I-B", [(0, 2, "A"), (3, 4, "B")]),  # a tag inside that follows none of its type begins
        ("B-A I-B", [(0, 1, "A"), (1, 2, "B")]),
        ("B-A I-A E-A I-A", [(0, 3, "A"), (3, 4, "A")]),
        ("S-A S-A U-B L-B", [(0, 1, "A"), (1, 2, "A"), (2, 3, "B"), (3, 4, "B")]),
        ("B-A-C I-A-C", [(0, 2, "A-C")]),
    ],
)
def test_spans_are_those_of_the_scheme(tags, expected):
    assert spans(tags.split()) == expected


@given(st.lists(st.sampled_from(NAMES), max_size=12))
def test_spans_part_what_is_tagged(tags):
    found = spans(tags)
    inside = [i for first, behind, _ in found for i in range(first, behind)]
    assert inside == [i for i, tag in enumerate(tags) if tag != "O"]
    for first, behind, kind in found:
        assert {tag[2:] for tag in tags[first:behind]} == {kind}
        assert all(tag[0] == "I" for tag in tags[first + 1 : behind])


def test_only_tags_of_entities_are_a_scheme():
    assert is_scheme(NAMES)
    assert is_scheme(("B-X", "I-X", "O"))
    for names in ((), ("O",), ("NOUN", "VERB"), ("O", "NOUN"), ("B-X", "I-X"), ("O", "B-")):
        assert not is_scheme(names)
    assert told(["NOUN", "VERB"], ["a", "b"]) == "NOUN VERB"
    assert told(["O", "B-X", "I-X"], ["at", "New", "York"]) == "X New York"
    assert told(["O", "O"], None) == "no entity"


def test_entities_are_right_where_span_and_type_are():
    rows = [("B-A I-A O", "B-A I-A O"), ("B-A I-A O", "B-A O O"), ("O B-B B-B", "O B-B O"), ("O O O", "B-B O O")]
    y = np.array([NAMES.index(tag) for true, _ in rows for tag in true.split()])
    guessed = np.array([NAMES.index(tag) for _, found in rows for tag in found.split()])
    sure = np.where(np.arange(12) < 6, 0.9, 0.6)
    probs = np.full((12, 5), 0.0) + ((1 - sure) / 4)[:, None]
    probs[np.arange(12), guessed] = sure
    report = TokenReport.from_log_probs(np.log(probs), y, np.repeat(np.arange(4), 3), 4, names=NAMES, **OPTIONS)
    first, second = report.entities.by_type
    assert (first.name, first.n, first.predicted) == ("A", 2, 2)
    assert (first.precision.value, first.recall.value, first.f1) == (0.5, 0.5, 0.5)
    assert first.probability == pytest.approx((0.81 + 0.9) / 2)
    assert (second.n, second.predicted, second.precision.value, second.recall.value) == (2, 2, 0.5, 0.5)
    assert second.probability == pytest.approx(0.6)
    assert report.entities.f1.value == pytest.approx(2 * 2 / (4 + 4))
    assert TokenReport.from_log_probs(np.log(probs), y, np.repeat(np.arange(4), 3), 4, **OPTIONS).entities is None
