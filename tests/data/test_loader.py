import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler, TensorDataset

from bayespeft.data.loader import LoaderExamples
from bayespeft.errors import DataError

X, Y = torch.arange(20.0).reshape(10, 2), torch.arange(10)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


def rows(**columns):
    return [{name: values[k] for name, values in columns.items()} for k in range(10)]


def test_pairs():
    examples = LoaderExamples(DataLoader(TensorDataset(X, Y), batch_size=4))
    assert len(examples) == 10
    assert examples.batch_count(batch_size=1) == 3
    batches = list(examples.batches(1))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([batch.index for batch in batches]), torch.arange(10))
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), X)
    assert torch.equal(torch.cat([batch.labels for batch in batches]), Y)
    assert examples.labels() is None


@pytest.mark.parametrize("item", [lambda x: (x,), lambda x: x])
def test_inputs_alone(item):
    batch = next(LoaderExamples(DataLoader([item(x) for x in X], batch_size=4)).batches(4))
    assert batch.labels is None
    assert torch.equal(batch.inputs, X[:4])


@pytest.mark.parametrize("name", ["labels", "label"])
def test_dicts(name):
    loader = DataLoader(rows(input_ids=torch.ones(10, 3, dtype=torch.long), name=["a"] * 10, **{name: Y}), batch_size=5)
    batch = next(LoaderExamples(loader).batches(5))
    assert set(batch.inputs) == {"input_ids", "attention_mask"}
    assert torch.equal(batch.inputs["attention_mask"], torch.ones(5, 3, dtype=torch.long))
    assert torch.equal(batch.labels, Y[:5])


def test_a_dict_and_its_label():
    loader = DataLoader([({"x": x}, y) for x, y in zip(X, Y, strict=True)], batch_size=5)
    batch = next(LoaderExamples(loader).batches(5))
    assert torch.equal(batch.inputs["x"], X[:5])
    assert torch.equal(batch.labels, Y[:5])


def test_a_loader_that_shuffles_keeps_labels_with_inputs():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(0))
    examples = LoaderExamples(loader)
    one, two = list(examples.batches(4)), list(examples.batches(4))
    for batch in one:
        assert torch.equal(batch.inputs[:, 0], 2.0 * batch.labels)
    assert torch.cat([b.index for b in one]).tolist() == list(range(10))
    assert torch.cat([b.labels for b in one]).tolist() != torch.cat([b.labels for b in two]).tolist()


def test_a_subset_sampler_says_how_many_examples_there_are():
    examples = LoaderExamples(DataLoader(TensorDataset(X, Y), batch_size=2, sampler=SubsetRandomSampler([1, 3, 5])))
    assert len(examples) == 3
    assert sum(map(len, examples.batches(2))) == 3


def test_drop_last_is_good_for_training_but_not_for_prediction():
    examples = LoaderExamples(DataLoader(TensorDataset(X, Y), batch_size=4, drop_last=True))
    assert len(examples) == 10
    assert sum(map(len, examples.batches(4, torch.Generator()))) == 8
    with pytest.raises(DataError, match=r"the DataLoader gave 8 examples of 10\. To predict, every example is needed"):
        list(examples.batches(4))


def bad_batch(batch):
    return DataLoader(range(4), batch_size=2, collate_fn=lambda items: batch)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (DataLoader(Stream()), r"reads a stream \(IterableDataset\)"),
        (DataLoader(X, batch_size=None), r"does not make batches \(batch_size=None\)"),
        (DataLoader(X, batch_sampler=iter([[0]])), "batch_sampler has no length"),
        (DataLoader(TensorDataset(X[:0], Y[:0])), "the data is empty"),
        (
            bad_batch({"text": ["a", "b"]}),
            "no input tensors: found text. Pass raw rows themselves, without a DataLoader",
        ),
        (bad_batch({"x": X[:2], "labels": ["a", "b"]}), "column 'labels' of a DataLoader's batch is a list; a tensor"),
        (bad_batch((X, Y, Y)), r"batch of the DataLoader is a tuple \(Tensor, Tensor, Tensor\); expected a dict"),
        (bad_batch("text"), r"batch of the DataLoader is a str \(str\); expected"),
        (bad_batch((X[:2], Y[:3])), r"different numbers of examples: the input \(2, 2\), labels \(3,\)"),
        (bad_batch((X[:2] / 0, Y[:2])), "the input of example 0: NaN or infinite"),
        (bad_batch({"x": X[:2], "z": X[:2] + float("nan")}), "z of example 0: NaN or infinite"),
        (bad_batch((X[:2], torch.tensor([0.0, float("nan")]))), "the label of example 1: NaN or infinite"),
    ],
)
def test_errors(loader, message):
    with pytest.raises(DataError, match=message):
        list(LoaderExamples(loader).batches(2))
