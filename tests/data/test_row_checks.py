"""Rows that are tokenised already: which of their columns count."""

from __future__ import annotations

import pytest

from bayespeft.data.row_checks import checked, no_tokenizer, token_columns
from bayespeft.data.takes import ANYTHING, Takes
from bayespeft.errors import DataError


def test_tokenised_rows_pass_with_the_columns_that_count() -> None:
    rows = [{"input_ids": [1, 2], "token_type_ids": [0, 0], "label": 3, "text": "ab", "idx": 7}]
    assert list(token_columns(rows, ANYTHING)) == [{"input_ids": [1, 2], "token_type_ids": [0, 0], "labels": 3}]


def test_tokenised_rows_pass_with_what_the_network_takes() -> None:
    rows = [{"input_ids": [1, 2], "bbox": [[0, 0], [1, 1]], "label": 3, "text": "ab", "idx": 7}]
    takes = Takes(names=frozenset({"input_ids", "bbox", "label"}))
    assert list(token_columns(rows, takes)) == [{"input_ids": [1, 2], "bbox": [[0, 0], [1, 1]], "labels": 3}]
    with pytest.raises(DataError, match="column 'bbox' of row 1 is missing or None"):
        list(token_columns([*rows, {"input_ids": [1], "label": 0}], takes))
    with pytest.raises(DataError, match=r"labels \{'label': 3, 'labels': 4\}, which differ"):
        list(token_columns([rows[0] | {"labels": 4}], takes))


def test_raw_rows_without_a_tokenizer() -> None:
    assert "raw text (columns text, label) and there is no tokenizer" in str(no_tokenizer({"text": "a", "label": 1}))
    assert "no known columns: found pixels; accepted: text" in str(no_tokenizer({"pixels": 1}))


def test_half_of_a_pair_of_surrogates_is_named():
    with pytest.raises(DataError, match=r"column 'text' of row 1 has a character that is none.* at position 2"):
        list(checked([{"text": "ä"}, {"text": "x \ud800"}]))


def test_the_name_of_a_class_is_one_that_a_file_can_hold():
    for name, said in (("\ud800", "has a character that is none"), ("a\0b", "with the character NUL: leave it out")):
        for label in (name, ["x", name]):
            with pytest.raises(DataError, match=rf"column 'label' of row 1 .*{said}"):
                list(checked([{"text": "a", "label": "x"}, {"text": "b", "label": label}]))
    rows = [{"text": "a\0b", "label": "x\u202e"}]  # a text may hold what its tokenizer reads
    assert list(checked(rows)) == rows
