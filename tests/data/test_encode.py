import pytest

from bayespeft.data.encode import encoded_rows
from bayespeft.errors import DataError


def letters(rows):
    """A tokenizer of letters, as a likelihood's `encode` would be."""
    encoded = []
    for row in rows:
        ids = [ord(letter) for letter in row["text"] + row.get("text_pair", "")]
        encoded.append({"input_ids": ids, "attention_mask": [1] * len(ids)})
        if "label" in row:
            encoded[-1]["labels"] = row["label"]
    return encoded


def test_raw_rows_go_through_encode():
    rows = [{"text": "ab", "label": 0, "extra": object()}, {"text": "c", "label": 1}]
    assert list(encoded_rows(rows, letters)) == [
        {"input_ids": [97, 98], "attention_mask": [1, 1], "labels": 0},
        {"input_ids": [99], "attention_mask": [1], "labels": 1},
    ]


def test_encode_gets_rows_in_chunks_and_in_order():
    sizes = []

    def encode(rows):
        sizes.append(len(rows))
        return letters(rows)

    encoded = list(encoded_rows(({"text": f"{k:04}"} for k in range(2500)), encode))
    assert sizes == [1000, 1000, 500]
    assert "".join(map(chr, encoded[2345]["input_ids"])) == "2345"


def test_tokenised_rows_pass_with_the_columns_that_count():
    rows = [{"input_ids": [1, 2], "token_type_ids": [0, 0], "label": 3, "text": "ab", "idx": 7}]
    assert list(encoded_rows(rows, None)) == [{"input_ids": [1, 2], "token_type_ids": [0, 0], "labels": 3}]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the data is empty"),
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
            [{"sentence": "a", "label": 0}],
            r"row 0 has no column 'text': found sentence, label; accepted: text\[, text_pair\]\[, label\] \| .*question",
        ),
    ],
)
def test_errors_of_rows(rows, message):
    with pytest.raises(DataError, match=message):
        list(encoded_rows(rows, letters))


def test_raw_text_without_a_tokenizer():
    with pytest.raises(DataError, match=r"raw text \(columns text, label\).*pass tokenizer="):
        list(encoded_rows([{"text": "a", "label": 1}], None))


def test_unknown_columns_without_a_tokenizer():
    with pytest.raises(DataError, match=r"no known columns: found pixels; accepted: text.*input_ids"):
        list(encoded_rows([{"pixels": 1}], None))


def test_row_numbers_of_later_chunks():
    rows = [{"text": "a"}] * 1000 + [{"text": "bad"}]

    def picky(chunk):
        for number, row in enumerate(chunk):
            if row["text"] == "bad":
                raise DataError(f"row {number}: too bad.")
        return letters(chunk)

    with pytest.raises(DataError, match="counting from row 1000: row 0: too bad"):
        list(encoded_rows(rows, picky))
    with pytest.raises(DataError, match=r"^row 0: too bad"):
        list(encoded_rows(rows[1000:], picky))


def test_a_defect_of_encode_is_not_blamed_on_the_rows():
    def broken(rows):
        return {}["text"]

    with pytest.raises(KeyError):
        list(encoded_rows([{"text": "a"}], broken))
    with pytest.raises(DataError, match="encode gave 0 rows for 1"):
        list(encoded_rows([{"text": "a"}], lambda rows: []))


def test_tokenised_rows_pass_with_what_the_network_takes():
    rows = [{"input_ids": [1, 2], "bbox": [[0, 0], [1, 1]], "label": 3, "text": "ab", "idx": 7}]
    taken = {"input_ids", "bbox", "label"}
    assert list(encoded_rows(rows, None, taken.__contains__)) == [
        {"input_ids": [1, 2], "bbox": [[0, 0], [1, 1]], "labels": 3}
    ]
    with pytest.raises(DataError, match="column 'bbox' of row 1 is missing or None"):
        list(encoded_rows([*rows, {"input_ids": [1], "label": 0}], None, taken.__contains__))


def test_one_warning_says_what_was_cut_of_all_rows():
    def cutting(rows):
        return [{"input_ids": [1] * min(5, len(row["text"])), "whole": len(row["text"])} for row in rows]

    with pytest.warns(
        UserWarning, match=r"^3 of 2500 texts are longer than the 5 tokens.*the longest has 9 tokens"
    ) as told:
        found = list(encoded_rows([{"text": "a" * (9 if k in (0, 1500, 2499) else 5)} for k in range(2500)], cutting))
    assert len(told) == 1
    assert not any("whole" in row for row in found)
