"""Data in any accepted form is resolved once, into one object."""

import json

import datasets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bayespeft.data.loader import LoaderExamples
from bayespeft.data.padding import Padding
from bayespeft.data.rows import RowExamples
from bayespeft.data.source import Source, source_of
from bayespeft.data.tensors import PairExamples, TensorExamples
from bayespeft.errors import DataError, UnknownNameError

ROWS = [{"text": "abc", "label": 1}, {"text": "d", "label": 0}, {"text": "ef", "label": 1}]
TOKENISED = [
    {"input_ids": [97, 98, 99], "label": 1},
    {"input_ids": [100], "label": 0},
    {"input_ids": [101, 102], "label": 1},
]
X, Y = torch.arange(6.0).reshape(3, 2), torch.arange(3)


class Endless(Dataset):
    """Like many data sets in the wild: it has a length, but never raises IndexError."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number % len(self.items)]


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        tuple(ROWS),
        (row for row in ROWS),
        Endless(ROWS),
        datasets.Dataset.from_list(ROWS),
        datasets.Dataset.from_list(ROWS).to_pandas(),
        datasets.DatasetDict(test=datasets.Dataset.from_list(ROWS), train=datasets.Dataset.from_list(ROWS[:1])),
        datasets.Dataset.from_list(ROWS).to_iterable_dataset(),
        datasets.Dataset.from_list(ROWS).data.table,
    ],
)
def test_raw_rows_of_any_kind_are_the_same(data):
    rows = source_of(data).raw_rows
    assert list(rows) == [rows[k] for k in range(3)] == rows[:] == ROWS
    assert len(rows) == 3


@pytest.mark.parametrize(
    "data",
    [
        TOKENISED,
        datasets.Dataset.from_list(TOKENISED),
        datasets.Dataset.from_list(TOKENISED).with_format("torch"),
        Endless(TOKENISED),
        [{name: torch.tensor(value) for name, value in row.items()} for row in TOKENISED],
    ],
)
def test_tokenised_rows_of_any_kind_give_the_same_examples(data):
    assert source_of(data).raw_rows is None
    examples = source_of(data).examples(Padding(0))
    assert isinstance(examples, RowExamples)
    (batch,) = examples.batches(3)
    assert batch.index.tolist() == [0, 2, 1]
    assert batch.inputs["input_ids"].tolist() == [[97, 98, 99], [101, 102, 0], [100, 0, 0]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert batch.labels.tolist() == [1, 1, 0]
    assert examples.labels().tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("data", "kind", "labelled"),
    [
        ((X, Y), TensorExamples, True),
        ((X,), TensorExamples, False),
        (X, TensorExamples, False),
        (TensorDataset(X, Y), TensorExamples, True),
        (Endless(list(zip(X, Y, strict=True))), PairExamples, True),
        (list(zip(X, Y, strict=True)), PairExamples, True),
        (list(X), PairExamples, False),
        (DataLoader(TensorDataset(X, Y), batch_size=3), LoaderExamples, True),
    ],
)
def test_tensors_of_any_kind_give_the_same_examples(data, kind, labelled):
    examples = source_of(data).examples()
    assert type(examples) is kind
    (batch,) = examples.batches(3)
    assert torch.equal(batch.inputs, X)
    assert torch.equal(batch.labels, Y) if labelled else batch.labels is None
    assert source_of(examples).examples() is examples
    assert source_of(source := source_of(data)) is source


@given(
    st.lists(st.text(alphabet="abc", min_size=1, max_size=9), min_size=1, max_size=40),
    st.integers(1, 12),
    st.none() | st.integers(0, 3),
)
def test_index_is_a_permutation_and_brings_predictions_back_into_order(texts, batch_size, seed):
    examples = source_of([{"input_ids": list(map(ord, text))} for text in texts]).examples(Padding(0))
    shuffle = None if seed is None else torch.Generator().manual_seed(seed)
    lengths = torch.full((len(texts),), -1)
    for batch in examples.batches(batch_size, shuffle):
        lengths[batch.index] = batch.inputs["attention_mask"].sum(1)
    assert lengths.tolist() == [len(text) for text in texts]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the data is empty: a list without examples"),
        (iter([]), "the data is empty"),
        (datasets.Dataset.from_list([]), "the data is empty: a Dataset without examples"),
        ({"text": ["a"], "label": [0]}, r"one mapping \(keys 'text', 'label'\) is no list of rows"),
        ({}, r"one mapping \(keys none\)"),
        (b"sst2", "data is b'sst2': bytes are neither rows nor the name"),
        (
            datasets.Dataset.from_list([{"a": 1, "b": 2.0}]).to_pandas(),
            r"a DataFrame of numbers \(a, b\): pass a pair \(X, y\)",
        ),
        (3, "data of type int can't be read. Accepted: rows .* a DataLoader; a torch Dataset"),
        ((X, Y, Y), r"a tuple of 3 \(Tensor, Tensor, Tensor\) is not \(X, Y\)"),
        ((X, {1, 2}), r"a tuple of 2 \(Tensor, set\) is not \(X, Y\) or \(X,\) of tensors or arrays"),
        (ROWS, r"raw text \(columns text, label\) and there is no tokenizer to read them with: pass tokenizer="),
        (["a", "b"], "row 0 is a str"),
        ([[1, 2, 3]], "item 0 is a list of 3 parts"),
    ],
)
def test_errors(data, message):
    with pytest.raises(DataError, match=message):
        source_of(data).examples()


def test_a_stream_is_nothing_to_train_on():
    stream = datasets.Dataset.from_list(ROWS).to_iterable_dataset()
    with pytest.raises(DataError, match=r"a stream without a length.*data.take\(1000\)"):
        source_of(stream, "train")


def test_there_are_no_rows_to_look_at_in_other_data():
    for other in (TOKENISED, (X, Y), X, TensorDataset(X, Y), DataLoader(X), list(X), source_of((X, Y)).examples()):
        assert source_of(other).raw_rows is None


def test_a_name_means_its_rows_of_a_split(tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    (tmp_path / "dev.jsonl").write_text(json.dumps(ROWS[1]) + "\n")
    for split, row in (("train", ROWS[0]), ("validation", ROWS[1]), ("test", ROWS[1])):
        source = source_of(str(tmp_path), split)
        assert list(source.rows) == [row]
        assert source.name == str(tmp_path)


def test_a_split_of_a_dict_of_them_is_chosen_as_one_of_a_name_is():
    data = datasets.DatasetDict(
        {split: datasets.Dataset.from_list(ROWS[:k]) for k, split in ((1, "train"), (2, "dev"))}
    )
    assert [source_of(data, split).count for split in ("train", "validation", "test")] == [1, 2, 2]
    with pytest.raises(UnknownNameError, match=r"the DatasetDict has no split 'test'\. Its splits: train"):
        source_of(datasets.DatasetDict(train=data["train"]), "test")


def test_rows_are_read_where_they_are():
    """A change is made when a row is read: nothing is copied."""
    seen = []

    class Watched(Endless):
        def __getitem__(self, number):
            seen.append(number)
            return super().__getitem__(number)

    source = source_of(Watched(ROWS))
    seen.clear()
    bare = source.without_labels()
    assert seen == []
    assert bare.rows[1] == {"text": "d"}
    assert seen == [1]
    assert isinstance(bare, Source)


def test_columns_of_one_name_in_a_frame_are_refused():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="several columns 'label'"):
        source_of(pandas.DataFrame([["a", 0, 1]], columns=["text", "label", "label"]))


def test_the_same_split_is_known_by_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": 1}]
    (tmp_path / "d" / "validation.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "d" / "train.jsonl").write_text("\n".join(map(json.dumps, rows[::-1])))
    splits = datasets.DatasetDict(
        {"validation": datasets.Dataset.from_list(rows), "train": datasets.Dataset.from_list(rows)}
    )
    known = source_of("d", "validation")
    assert all(source_of(name, "test").same_split(known) for name in ("d", "./d", f"{tmp_path}/d"))
    assert source_of(splits, "test").same_split(source_of(splits, "validation"))
    assert not source_of("d", "train").same_split(known)
    assert not source_of(rows).same_split(known)
