"""Names of columns, and what may stand in them."""

from __future__ import annotations

from typing import Any

import pytest

from bayespeft.data.columns import expected_in, is_conversation, label_of, missing_labels, remedy, without_labels
from bayespeft.errors import DataError


def test_one_label_under_any_name() -> None:
    assert [label_of(row, 0) for row in ({"label": 2}, {"labels": 2}, {"answer": 2}, {"text": "a"})] == [2, 2, 2, None]
    assert label_of({"label": [1, 0], "labels": [1, 0], "answer": None}, 0) == [1, 0]
    with pytest.raises(DataError, match=r"row 7 has the labels \{'label': 1, 'answer': 2\}, which differ"):
        label_of({"label": 1, "answer": 2}, 7)
    assert without_labels({"text": "a", "label": 1, "answer": 2, "id": 3}) == {"text": "a", "id": 3}


def test_what_is_said_where_labels_are_missing() -> None:
    assert str(missing_labels("a report")) == "a report needs labels: column 'label', 'labels' or 'answer' is missing."
    assert "'answer' of validation is missing" in str(missing_labels("a threshold", "validation"))


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("text", "a", None),
        ("text_pair", None, "a string"),
        ("choices", ["a", "b"], None),
        ("choices", [], "a list of strings"),
        ("choices", "ab", "a list of strings"),
        ("prompt", "a", None),
        ("prompt", [{"role": "user", "content": "a"}], None),
        ("prompt", ["a"], "a string or a list of messages"),
        ("messages", "a", "a list of messages"),
        ("anything", 3, None),
    ],
)
def test_what_a_column_must_have(column: str, value: Any, expected: str | None) -> None:
    assert expected_in(column, value) == expected


def test_a_conversation_is_a_list_of_mappings() -> None:
    assert is_conversation(({"role": "user"},))
    assert not any(map(is_conversation, ([], "a", ["a"], {"role": "user"}, [{"role": "user"}, "a"])))


def test_the_longest_string_is_taken_for_the_text() -> None:
    row = {"id": "17", "message": "where is my parcel", "topic": "shipping"}
    assert remedy(row, "text").endswith("columns={'text': 'message'}.")
    assert remedy({}, "text").endswith("columns={'text': '...'}.")
