import datasets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bayespeft.data.loader import LoaderExamples
from bayespeft.data.prepare import Padding, prepare, raw_rows
from bayespeft.data.rows import RowExamples
from bayespeft.data.tensors import PairExamples, TensorExamples
from bayespeft.errors import DataError

ROWS = [{"text": "abc", "label": 1}, {"text": "d", "label": 0}, {"text": "ef", "label": 1}]
TOKENISED = [
    {"input_ids": [97, 98, 99], "label": 1},
    {"input_ids": [100], "label": 0},
    {"input_ids": [101, 102], "label": 1},
]
X, Y = torch.arange(6.0).reshape(3, 2), torch.arange(3)


def letters(rows):
    encoded = []
    for row in rows:
        encoded.append({"input_ids": [ord(letter) for letter in row["text"]]})
        if "label" in row:
            encoded[-1]["labels"] = row["label"]
    return encoded


class Endless(Dataset):
    """Like many data sets in the wild: it has a length, but never raises IndexError."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number % len(self.items)]


@pytest.mark.parametrize(
    ("data", "encode"),
    [
        (ROWS, letters),
        (tuple(ROWS), letters),
        ((row for row in ROWS), letters),
        (Endless(ROWS), letters),
        (datasets.Dataset.from_list(ROWS), letters),
        (TOKENISED, None),
        (datasets.Dataset.from_list(TOKENISED), None),
        (datasets.Dataset.from_list(TOKENISED).with_format("torch"), None),
        (Endless(TOKENISED), None),
        ([{name: torch.tensor(value) for name, value in row.items()} for row in TOKENISED], None),
    ],
)
def test_rows_of_any_kind_give_the_same_examples(data, encode):
    examples = prepare(data, encode, padding=Padding(0))
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
    examples = prepare(data)
    assert type(examples) is kind
    (batch,) = examples.batches(3)
    assert torch.equal(batch.inputs, X)
    assert torch.equal(batch.labels, Y) if labelled else batch.labels is None
    assert prepare(examples) is examples


@given(
    st.lists(st.text(alphabet="abc", min_size=1, max_size=9), min_size=1, max_size=40),
    st.integers(1, 12),
    st.none() | st.integers(0, 3),
)
def test_index_is_a_permutation_and_brings_predictions_back_into_order(texts, batch_size, seed):
    examples = prepare([{"text": text} for text in texts], letters, padding=Padding(0))
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
        (
            datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS), dev=datasets.Dataset.from_list(ROWS)),
            r"DatasetDict with the splits 'train', 'dev': pass one of them, such as data\['train'\]",
        ),
        ({"text": ["a"], "label": [0]}, r"one mapping \(keys 'text', 'label'\) is no list of rows"),
        ({}, r"one mapping \(keys none\)"),
        ("sst2", "data is the string 'sst2'"),
        (datasets.Dataset.from_list(ROWS).to_pandas(), r"a DataFrame: pass its rows, data.to_dict\('records'\)"),
        (datasets.Dataset.from_list(ROWS).to_iterable_dataset(), r"a stream without a length.*data.take\(1000\)"),
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
        prepare(data)


def test_raw_rows():
    assert raw_rows(ROWS) is ROWS
    hub = datasets.Dataset.from_list(ROWS)
    assert raw_rows(hub) is hub
    assert list(hub) == ROWS
    for other in (TOKENISED, (X, Y), X, TensorDataset(X, Y), DataLoader(X), list(X), iter(ROWS), prepare((X, Y))):
        assert raw_rows(other) is None
    with pytest.raises(DataError, match="the data is empty"):
        raw_rows([])
    with pytest.raises(DataError, match="DatasetDict"):
        raw_rows(datasets.DatasetDict(train=hub))
