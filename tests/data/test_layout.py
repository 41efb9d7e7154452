"""Columns under the usual names of the hub, and under those that the user gave."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError, DataError


def read(row: Any, split: str = "test", **names: str) -> dict[str, Any]:
    """What is known of the row as it is read."""
    rows = source_of([row], split, names).rows
    assert rows is not None
    known = (
        "text",
        "text_pair",
        "question",
        "choices",
        "answer",
        "label",
        "source",
        "target",
        "input_ids",
        "tokens",
        "labels",
        "tags",
        "ner_tags",
    )
    return {name: value for name, value in rows[0].items() if name in known}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"sentence": "a", "label": 1, "idx": 0}, {"text": "a", "label": 1}),
        ({"content": "a", "label": 1}, {"text": "a", "label": 1}),
        ({"review": "a", "label": 1}, {"text": "a", "label": 1}),
        ({"premise": "a", "hypothesis": "b", "label": 2}, {"text": "a", "text_pair": "b", "label": 2}),
        ({"sentence1": "a", "sentence2": "b", "label": 0}, {"text": "a", "text_pair": "b", "label": 0}),
        ({"question1": "a", "question2": "b"}, {"text": "a", "text_pair": "b"}),
        ({"question": "a", "passage": "b", "answer": True}, {"text": "a", "text_pair": "b", "answer": True}),
        ({"question": "a", "sentence": "b", "label": 0}, {"text": "a", "text_pair": "b", "label": 0}),
        ({"text": "a", "label_text": "good"}, {"text": "a", "label": "good"}),
        ({"text": "a", "label": 1, "label_text": "good"}, {"text": "a", "label": 1}),
        # What is called as we call it is not looked for under other names.
        ({"text": "a", "sentence": "b", "review": "c"}, {"text": "a"}),
        ({"source": "a", "target": "b", "content": "c"}, {"source": "a", "target": "b"}),
        ({"input_ids": [1], "sentence": "a", "label": 0}, {"input_ids": [1], "label": 0}),
        ({"tokens": ["a", "b"], "sentence": "a b", "ner_tags": [0, 1]}, {"tokens": ["a", "b"], "ner_tags": [0, 1]}),
    ],
)
def test_usual_names_are_understood(row: Any, expected: Any) -> None:
    assert read(row) == expected


ARC = {"text": ["the cat", "a dog", "very"], "label": ["A", "B", "C"]}


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"question": "q", "choices": ARC, "answerKey": "B"}, 1),
        ({"question_stem": "q", "choices": ARC, "answerKey": "C"}, 2),
        ({"question": "q", "choices": {**ARC, "label": ["1", "2", "3"]}, "answerKey": "3"}, 2),
        ({"question": "q", "choices": ARC["text"], "answer": "A"}, 0),
        ({"question": "q", "choices": ARC["text"], "answer": " C "}, 2),
        ({"question": "q", "choices": ARC["text"], "answer": "a dog"}, 1),
        ({"question": "q", "choices": ["B", "A"], "answer": 1}, 1),
        ({"question": "q", "choices": ARC["text"], "label": 1}, 1),
    ],
)
def test_answers_are_positions_among_the_choices(row: Any, answer: int) -> None:
    found = read(row)
    assert found.pop("answer", found.pop("label", None)) == answer
    assert found["question"] == "q"
    assert found["choices"] == (row["choices"] if isinstance(row["choices"], list) else ARC["text"])


def test_questions_without_answers_are_read_too() -> None:
    assert read({"question": "q", "choices": ARC}) == {"question": "q", "choices": ARC["text"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"sentence": "a", "review": "b"},
            r"may be what is to be read: sentence; review. .*columns=\{'text': 'sentence'\}",
        ),
        (
            {"premise": "a", "hypothesis": "b", "sentence1": "c", "sentence2": "d"},
            r"premise, hypothesis; sentence1, sentence2. Say which, as in columns=\{'text': 'premise'\}",
        ),
        ({"text": "a", "answerKey": "A", "label_text": "b"}, "several columns may be the label: answerKey, label_text"),
        (
            {"question": "q", "choices": ARC["text"], "answer": "1"},
            "row 0: the answer '1' means none of the choices 'the cat'",
        ),
        (
            {"question": "q", "choices": ARC["text"], "answer": "D"},
            "'D' means none .* a letter, A for the first, or its pos",
        ),
        (
            {"question": "q", "choices": ["B", "A"], "answer": "A"},
            "the answer 'A' means several of the choices 'B', 'A'",
        ),
        ({"question": "q", "choices": ARC, "answerKey": "X"}, "'X' means none of .*give the mark of one"),
        ({"question": "q", "choices": {"text": ["a", "b"], "label": ["A"]}}, "lists 'text' and 'label' of one length"),
    ],
)
def test_what_may_be_two_things_is_an_error_that_says_what_to_pass(row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(row)


def test_names_that_the_user_gives_come_first() -> None:
    row = {"text": "a", "body": "b", "title": "c", "label": 0, "gold": 1}
    assert read(row, text="body", label="gold") == {"text": "b", "label": 1}
    assert read(row, text="title", text_pair="body") == {"text": "c", "text_pair": "b", "label": 0}
    assert read({"text": "a", "text_pair": "b"}, text="text_pair", text_pair="text") == {"text": "b", "text_pair": "a"}
    # A label that is named is the only one, and an answer is a label.
    assert read({"text": "a", "label": 0, "answer": 1}, label="label") == {"text": "a", "label": 0}
    assert read({"stem": "q", "options": ["x", "y"], "key": "B"}, question="stem", choices="options", answer="key") == {
        "question": "q", "choices": ["x", "y"], "answer": 1,
    }  # fmt: skip
    words = {"words": ["a", "b"], "pos": [0, 1], "ner_tags": [2, 2]}
    for label in ("label", "labels", "tags"):
        found = read(words, tokens="words", **{label: "pos"})
        assert found == {"tokens": ["a", "b"], "tags" if label == "tags" else "labels": [0, 1]}
    # Those that are not named are found as ever.
    assert read({"sentence": "a", "gold": 1}, label="gold") == {"text": "a", "label": 1}


def test_a_name_that_leads_nowhere_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"columns= names 'txt', which is none of text, text_pair"):
        read({"body": "a"}, txt="body")
    with pytest.raises(ConfigError, match=r"Our name comes first: columns=\{'text': 'body'\}\.$"):
        read({"body": "a"}, body="text")
    with pytest.raises(
        DataError, match=r"says that 'text' is the column 'bodie', which the rows lack: they have body;"
    ):
        read({"body": "a"}, text="bodie")
    with pytest.raises(DataError, match="says that 'label' is the column 'gold', which the rows lack"):
        read({"text": "a"}, "train", label="gold")
    assert read({"text": "a"}, label="gold") == {"text": "a"}  # nothing is to be learned from it
    with pytest.raises(ConfigError, match=r"columns= names columns of rows, and data is a tuple"):
        source_of((torch.zeros(2, 3),), columns={"text": "a"})


def test_what_was_said_of_other_data_holds_where_there_are_such_columns() -> None:
    said = {"text": "body", "label": "gold"}
    for row, expected in (
        ({"body": "a", "gold": 1, "text": "b"}, {"text": "a", "label": 1}),
        ({"text": "a", "label": 1}, {"text": "a", "label": 1}),
        ({"sentence": "a"}, {"text": "a"}),
    ):
        rows = source_of([row], remembered=said).rows
        assert rows is not None
        assert {name: rows[0].get(name) for name in expected} == expected
    assert source_of([{"text": "a"}], remembered=said, columns={"label": "star"}).columns == {**said, "label": "star"}


def test_a_column_that_one_row_lacks_is_not_taken_from_another() -> None:
    rows = source_of([{"body": "a", "text": "b"}, {"text": "c"}], columns={"text": "body"}).rows
    assert rows is not None
    assert [dict(row) for row in rows] == [{"body": "a", "text": "a"}, {}]


@pytest.mark.parametrize(("marks", "key", "position"), [
    (["1", "2", "3"], 1, 0),
    (["1", "2", "3"], "3", 2),
    ([1, 2, 3], 1, 0),
    ([1, 2, 3], "2", 1),
    (["A", "B", "C"], 1, 1),  # letters: a number is a position
])  # fmt: skip
def test_marks_that_are_numbers_are_no_positions(marks, key, position):
    choices = {"text": ["3", "dog", "fine"], "label": marks}
    (row,) = source_of([{"question": "?", "choices": choices, "answerKey": key}]).rows
    assert row["answer"] == position


def test_a_number_that_is_no_mark_is_refused():
    choices = {"text": ["cat", "dog"], "label": ["1", "2"]}
    with pytest.raises(DataError, match="the answer '0' means none of the choices"):
        source_of([{"question": "?", "choices": choices, "answerKey": 0}]).rows[0]
