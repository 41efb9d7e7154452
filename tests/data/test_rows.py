"""RowExamples: every example once, padded right, whatever the batch size, the lengths and the seed."""

from contextlib import nullcontext

import pytest
import torch

from bayespeft.data.padding import Padding
from bayespeft.data.rows import RowExamples
from bayespeft.data.table import TokenTable
from bayespeft.errors import DataError


def labelled(rows, **more):
    return [{"input_ids": ids, "labels": number, **more} for number, ids in enumerate(rows)]


def test_other_columns_of_a_likelihood_are_kept():
    rows = [{"input_ids": [1, 2], "span": [3, 4, 5], "start": 2}, {"input_ids": [1], "span": [6], "start": 0}]
    (batch,) = RowExamples(TokenTable(rows), Padding(0)).batches(2)
    assert batch.inputs["span"].tolist() == [[3, 4, 5], [6, 0, 0]]
    assert batch.inputs["start"].tolist() == [2, 0]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 1], torch.int64),
        ([True, False], torch.int64),
        ([0.5, 1], torch.float32),
        (torch.tensor([0, 1]), torch.int64),
    ],
)
def test_labels_are_integers_or_floats(values, dtype):
    rows = [{"input_ids": [1], "labels": value} for value in values]
    labels = RowExamples(TokenTable(rows)).labels()
    assert labels.dtype == dtype
    assert labels.tolist() == [float(value) for value in values]


def test_several_labels_per_row_are_a_matrix():
    rows = [{"input_ids": [1, 2, 3], "labels": [0.0, 1.0]}, {"input_ids": [4], "labels": [1.0, 0.5]}]
    assert torch.equal(RowExamples(TokenTable(rows), Padding(0)).labels(), torch.tensor([[0.0, 1.0], [1.0, 0.5]]))


def test_no_labels():
    examples = RowExamples(TokenTable([{"input_ids": [1]}]))
    assert examples.labels() is None
    assert next(examples.batches(1)).labels is None


def test_padding_without_a_token_is_an_error_as_soon_as_it_is_asked_for():
    examples = RowExamples(TokenTable(labelled([[1, 2], [3]])), Padding(None))
    with pytest.raises(DataError, match=r"no padding token\. Set tokenizer.pad_token = tokenizer.eos_token"):
        examples.batches(2)
    assert [len(batch) for batch in examples.batches(1)] == [1, 1]
    assert len(next(RowExamples(TokenTable(labelled([[1, 2], [3, 4]])), Padding(None)).batches(2))) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the data is empty"),
        ([{"labels": 1}], "column 'input_ids' is missing or no sequence; found: none"),
        ([{"input_ids": [1]}, {"input_ids": [1], "x": 1}], "row 1 and row 0 differ in the columns they have: x"),
        ([{"input_ids": [1, 2], "attention_mask": [1]}], "row 0 has 1 numbers in column 'attention_mask' and 2"),
        ([{"input_ids": [1], "labels": None}], "column 'labels' of row 0 is None: the row has no label"),
        ([{"input_ids": [1], "labels": float("nan")}], "column 'labels' of row 0 is nan: the row has no label"),
        ([{"input_ids": [1], "labels": torch.tensor(float("nan"))}], "column 'labels' of row 0 is nan"),
        ([{"input_ids": [1], "labels": float("inf")}], r"is inf \(float\): a label is an integer from 0"),
        ([{"input_ids": [1], "labels": "cat"}], r"'labels' of row 0 is 'cat' \(str\): a label is an integer"),
        ([{"input_ids": [1], "labels": 1}, {"input_ids": [1], "labels": [1]}], "row 0 is one number, but other rows"),
        (
            [{"input_ids": [1, 2, 3], "labels": [1]}, {"input_ids": [1], "labels": [1, 2]}],
            r"of row 1 has 2 numbers: neither one per token \(1\) nor as many as row 0 \(1\)\. .* likelihood='multi_label'",
        ),
        ([{"input_ids": [1], "labels": ["a", "b"]}], "lists that are no numbers"),
        ([{"input_ids": [1], "labels": [float("nan"), 0.0]}], "the label of example 0: NaN or infinite"),
    ],
)
def test_errors(rows, message):
    with pytest.raises(DataError, match=message):
        RowExamples(TokenTable(rows))


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_of_a_decoder_have_lengths_of_their_own(side):
    rows = [{"input_ids": [1, 2, 3], "labels": [7]}, {"input_ids": [4], "labels": [8, 9]}]
    (batch,) = RowExamples(TokenTable(rows), Padding(0, side, labels=True)).batches(2)
    assert batch.labels.tolist() == [[7, -100], [8, 9]]
    beside = [{"input_ids": [1, 2, 3], "labels": [-100, 7, 8]}, {"input_ids": [4], "labels": [9]}]
    (batch,) = RowExamples(TokenTable(beside), Padding(0, side, labels=True)).batches(2)
    gap = [-100, -100]
    assert batch.labels.tolist() == [[-100, 7, 8], [9, *gap] if side == "right" else [*gap, 9]]


def test_a_batch_has_at_least_one_example():
    with pytest.raises(DataError, match="batch_size is 0"):
        RowExamples(TokenTable([{"input_ids": [1]}])).batches(0)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[[1, 2]], [[1, 2, 3]]], r"column 'bbox' has the shape \(1, 3\) in row 1 and \(1, 2\) in row 0"),
        ([[[1, 2]], [[1], [1, 2]]], "column 'bbox' of row 1 is no array of numbers"),
        ([[[1, 2]], [["a", "b"], ["a", "b"]]], "column 'bbox' of row 1 is no array of numbers"),
        ([[[1.0, 2.0]], [[float("nan"), 1.0]] * 2], "column 'bbox' of example 1: NaN or infinite"),
    ],
)
def test_errors_of_arrays(column, message):
    rows = [{"input_ids": [1] * (k + 1), "bbox": value} for k, value in enumerate(column)]
    with pytest.raises(DataError, match=message):
        RowExamples(TokenTable(rows), Padding(0))


@pytest.mark.parametrize(
    ("ids", "warned"),
    [
        ([[5, 6, 7], [5, 0, 0]], "row 1 is padded with the token 0 \\(1 of 2 rows are\\)"),
        ([[0, 0, 7], [5, 6, 7], [0, 0]], "row 0 is padded with the token 0 \\(2 of 3 rows are\\)"),
        ([[5, 6, 0], [0, 6, 7], [0]], ""),  # one at an end may be the end
        ([[5, 0, 0, 6]], ""),
    ],
)
def test_padding_without_a_mask_is_told_of(ids, warned):
    rows = [{"input_ids": row} for row in ids]
    with pytest.warns(UserWarning, match=warned + ".*'attention_mask'") if warned else nullcontext():
        found = RowExamples(TokenTable(rows), Padding(0))
    assert next(found.batches(1)).inputs["attention_mask"].all()
    # Whoever says that all counts, or which token of it, is believed.
    for mask in ([1] * 4, [1, 0, 0, 0]):
        RowExamples(TokenTable([{**row, "attention_mask": mask[: len(row["input_ids"])]} for row in rows]), Padding(0))
    RowExamples(TokenTable(rows), Padding(9))
    RowExamples(TokenTable(rows))
