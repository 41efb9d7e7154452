"""Raw rows to tokens: in chunks, with errors that name the row, and one warning of what was cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bayespeft.data.padding import Padding
from bayespeft.data.rows import RowExamples
from bayespeft.data.source import source_of
from bayespeft.errors import DataError
from bayespeft.likelihoods.encoding import encoded
from bayespeft.likelihoods.sequence_classification import SequenceClassification


class Letters(SequenceClassification):
    """Reads one token for each letter."""

    def encode(self, rows: Any, tokenizer: Any) -> list[dict[str, Any]]:
        found = []
        for row in rows:
            ids = [ord(letter) for letter in row["text"] + row.get("text_pair", "")]
            found.append({"input_ids": ids, "attention_mask": [1] * len(ids)})
            if "label" in row:
                found[-1]["labels"] = row["label"]
        return found


def read(rows: Any, likelihood: Any = None) -> RowExamples:
    return RowExamples(encoded(source_of(rows).rows, likelihood or Letters(), "a tokenizer"), Padding(0))


def test_raw_rows_go_through_the_likelihood() -> None:
    (batch,) = read([{"text": "ab", "label": 0, "extra": object()}, {"text": "c", "label": 1}]).batches(2)
    assert batch.inputs["input_ids"].tolist() == [[97, 98], [99, 0]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1]


def test_rows_are_encoded_in_chunks_and_in_order() -> None:
    sizes = []

    class Counting(Letters):
        def encode(self, rows: Any, tokenizer: Any) -> list[dict[str, Any]]:
            sizes.append(len(rows))
            return super().encode(rows, tokenizer)

    examples = read(({"text": f"{k:04}"} for k in range(2500)), Counting())
    assert sizes == [1000, 1000, 500]
    (batch,) = examples.subset(torch.tensor([2345])).batches(1)
    assert "".join(map(chr, batch.inputs["input_ids"][0])) == "2345"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a text"], r"row 0 is a str, but a mapping.*Write texts as rows: \[\{'text': t\} for t in texts\]"),
        ([{"text": "a"}, ("a", 1)], "row 1 is a tuple, but a mapping of columns is expected"),
        ([{"text": "a", "label": 0}, {"text": "b"}], r"row 0 has a label \(column 'label'\) and row 1 has none"),
        ([{"text": "a"}, {"text": "b", "label": 0}], r"row 1 has a label \(column 'label'\) and row 0 has none"),
        ([{"text": "a", "label": 0}, {"text": "b", "label": None}], "column 'label' of row 1 is None: the row has no"),
        ([{"text": "a", "label": float("nan")}], "column 'label' of row 0 is nan: the row has no label"),
        ([{"text": "a", "text_pair": "b"}, {"text": "a"}], "row 1 has the columns text, but row 0 has text, text_pair"),
        ([{"text": "a"}, {"text": 3}], "column 'text' of row 1 is 3: a string is expected"),
        ([{"question": "a", "choices": "bc"}], "column 'choices' of row 0 is 'bc': a list of strings is expected"),
        ([{"question": "a", "choices": []}], "column 'choices' of row 0 is"),
        (
            [{"words": "a", "label": 0}],
            r"row 0 has no column 'text': found words, label; accepted: text\[, text_pair\]\[, label\] \| .*question",
        ),
    ],
)
def test_errors_of_rows(rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(rows)


def test_row_numbers_of_later_chunks() -> None:
    rows = [{"text": "a"}] * 1000 + [{"text": "bad"}]

    class Picky(Letters):
        def encode(self, rows: Any, tokenizer: Any) -> list[dict[str, Any]]:
            for number, row in enumerate(rows):
                if row["text"] == "bad":
                    raise DataError(f"row {number}: too bad.")
            return super().encode(rows, tokenizer)

    with pytest.raises(DataError, match="counting from row 1000: row 0: too bad"):
        read(rows, Picky())
    with pytest.raises(DataError, match=r"^row 0: too bad"):
        read(rows[1000:], Picky())


def test_a_defect_of_encode_is_not_blamed_on_the_rows() -> None:
    class Broken(Letters):
        def encode(self, rows: Any, tokenizer: Any) -> list[dict[str, Any]]:
            return {}["text"]

    class Lossy(Letters):
        def encode(self, rows: Any, tokenizer: Any) -> list[dict[str, Any]]:
            return []

    with pytest.raises(KeyError):
        read([{"text": "a"}], Broken())
    with pytest.raises(DataError, match="encode gave 0 rows for 1"):
        read([{"text": "a"}], Lossy())


def test_one_warning_says_what_was_cut_of_all_rows() -> None:
    class Cutting(Letters):
        def encode(self, rows: Any, tokenizer: Any) -> list[dict[str, Any]]:
            return [{"input_ids": [1] * min(5, len(row["text"])), "whole": len(row["text"])} for row in rows]

    rows = [{"text": "a" * (9 if k in (0, 1500, 2499) else 5)} for k in range(2500)]
    with pytest.warns(
        UserWarning, match=r"^3 of 2500 texts are longer than the 5 tokens.*the longest has 9 tokens"
    ) as told:
        (batch,) = read(rows, Cutting()).batches(2500)
    assert len(told) == 1
    assert set(batch.inputs) == {"input_ids", "attention_mask"}
