import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader

from bayespeft.data.loader import LoaderExamples
from bayespeft.data.media import MediaExamples
from bayespeft.data.tensors import PairExamples, TensorExamples
from bayespeft.errors import DataError


def make(kind, n):
    x, y = torch.arange(2.0 * n).reshape(n, 2), torch.arange(n)
    return TensorExamples(x, y) if kind == "tensors" else PairExamples(list(zip(x, y, strict=True)))


@pytest.mark.parametrize("kind", ["tensors", "pairs"])
@given(n=st.integers(1, 60), batch_size=st.integers(1, 25), seed=st.none() | st.integers(0, 3))
def test_every_example_comes_once(kind, n, batch_size, seed):
    shuffle = None if seed is None else torch.Generator().manual_seed(seed)
    examples = make(kind, n)
    batches = list(examples.batches(batch_size, shuffle))
    index = torch.cat([batch.index for batch in batches])
    assert sorted(index.tolist()) == list(range(n)) == list(range(len(examples)))
    assert torch.equal(torch.cat([batch.labels for batch in batches]), index)
    assert torch.equal(torch.cat([batch.inputs for batch in batches])[:, 0], 2.0 * index)
    assert len(batches) == examples.batch_count(batch_size)
    assert all(len(batch) <= batch_size for batch in batches)
    if seed is None:
        assert torch.equal(index, torch.arange(n))


@pytest.mark.parametrize("kind", ["tensors", "pairs"])
def test_shuffles_are_determined_by_the_generator(kind):
    def epoch(seed):
        return torch.cat([b.index for b in make(kind, 50).batches(8, torch.Generator().manual_seed(seed))]).tolist()

    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1)


def test_reading_in_order_copies_nothing():
    x = torch.zeros(10, 3)
    storage = x.untyped_storage().data_ptr()
    assert all(b.inputs.untyped_storage().data_ptr() == storage for b in TensorExamples(x).batches(4))


@pytest.mark.parametrize("form", ["tensors", "pairs", "loader", "loader of rows", "rows"])
def test_gradients_end_at_the_data(form):
    """Features that were computed with gradients on are data, and what computed them is not to be trained."""
    encoder = nn.Linear(5, 5)
    x, y = encoder(torch.randn(12, 5)), encoder(torch.randn(12, 5))
    columns = [{"input_values": one, "labels": 1} for one in x]
    examples = {
        "tensors": lambda: TensorExamples(x, y),
        "pairs": lambda: PairExamples(list(zip(x, y, strict=True))),
        "loader": lambda: LoaderExamples(DataLoader(list(zip(x, y, strict=True)), batch_size=4)),
        "loader of rows": lambda: LoaderExamples(DataLoader(columns, batch_size=4)),
        "rows": lambda: MediaExamples(columns, None, lambda value, row: value),
    }[form]()
    for batch in examples.batches(4):
        inputs = batch.inputs if isinstance(batch.inputs, torch.Tensor) else batch.inputs["input_values"]
        assert not inputs.requires_grad
        assert not batch.labels.requires_grad


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [(torch.int32, torch.int64), (torch.bool, torch.int64), (torch.uint8, torch.int64), (torch.float64, torch.float32)],
)
def test_dtypes_of_labels(labels, dtype):
    assert TensorExamples(torch.zeros(3, 2), torch.ones(3, dtype=labels)).labels().dtype == dtype


def test_without_labels():
    examples = TensorExamples(torch.zeros(3, 2))
    assert examples.labels() is None
    assert next(examples.batches(2)).labels is None
    assert next(PairExamples([(torch.zeros(2),)]).batches(1)).labels is None
    assert next(PairExamples([torch.zeros(2)]).batches(1)).labels is None
    assert PairExamples([(torch.zeros(2), 1)]).labels() is None  # not without reading every x


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(0, 3), None, r"the data is empty: X has the shape \(0, 3\)"),
        (torch.zeros(3), torch.zeros(2), "X has 3 examples and Y has 2"),
        (torch.tensor(1.0), None, "X has no axis of examples"),
        (torch.zeros(2), torch.tensor(1.0), "Y has no axis of examples"),
        (torch.tensor([0.0, float("nan")]), None, "the input of example 1: NaN or infinite"),
        (torch.zeros(2), torch.tensor([0.0, float("nan")]), "the label of example 1: NaN or infinite"),
        (torch.zeros(1), torch.zeros(1, dtype=torch.complex64), "labels have dtype torch.complex64"),
    ],
)
def test_errors_of_tensors(x, y, message):
    with pytest.raises(DataError, match=message):
        TensorExamples(x, y)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "the data is empty"),
        ([(1, 2, 3)], r"item 0 is a tuple of 3 parts, expected \(x, y\) or x"),
        ([(torch.zeros(2), 0), (torch.zeros(3), 0)], r"inputs of items 0 and 1 have the shapes \(2,\) and \(3,\)"),
        ([(torch.zeros(2), 0), (torch.zeros(2), [1, 2])], r"labels of items 0 and 1 have the shapes \(\) and \(2,\)"),
        ([(torch.zeros(2), 0), (torch.zeros(2),)], "item 1 has no label, unlike item 0"),
        ([(torch.zeros(2), 0), (torch.tensor([0.0, float("nan")]), 0)], "the input of example 1: NaN or infinite"),
        ([(torch.zeros(2), 0.0), (torch.zeros(2), float("nan"))], "the label of example 1: NaN or infinite"),
        ([("an image", 0)], "the input of item 0 is 'an image', a str: a tensor is expected"),
        ([(torch.zeros(2), None)], "the label of item 0 is None, a NoneType: a tensor is expected"),
    ],
)
def test_errors_of_pairs(items, message):
    with pytest.raises(DataError, match=message):
        list(PairExamples(items).batches(2))


def test_errors_name_the_example_when_shuffled():
    items = [(torch.full((2,), float("nan") if k == 5 else 0.0), 0) for k in range(9)]
    with pytest.raises(DataError, match="the input of example 5"):
        list(PairExamples(items).batches(3, torch.Generator().manual_seed(0)))
