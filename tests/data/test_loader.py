import random

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import bayespeft
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


class Foreign(Sampler):
    """Shuffles by Python's random numbers."""

    def __len__(self):
        return 10

    def __iter__(self):
        return iter(random.sample(range(10), 10))


class Own(Sampler):
    """Shuffles by a generator of its own, which is none of torch's."""

    def __init__(self):
        self._random = random.Random(5)

    def __len__(self):
        return 10

    def __iter__(self):
        return iter(self._random.sample(range(10), 10))


def seeded_generator():
    return torch.Generator().manual_seed(3)


def shuffling(kind: str) -> DataLoader:
    data = TensorDataset(X, Y)
    options = {
        "global": lambda: {"shuffle": True},
        "generator": lambda: {"shuffle": True, "generator": seeded_generator()},
        "sampler": lambda: {"sampler": RandomSampler(data, generator=seeded_generator())},
        "subset": lambda: {"sampler": SubsetRandomSampler(range(10), generator=seeded_generator())},
        "batch_sampler": lambda: {"batch_sampler": BatchSampler(RandomSampler(data), 4, False)},
        "foreign": lambda: {"sampler": Foreign()},
        "own": lambda: {"sampler": Own()},
    }[kind]()
    return DataLoader(data, **({} if "batch_sampler" in options else {"batch_size": 4}), **options)


KINDS = ["global", "generator", "sampler", "subset", "batch_sampler", "foreign", "own"]


def labels_of(batches) -> list[int]:
    return torch.cat([batch.labels for batch in batches]).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_loader_that_shuffles_keeps_labels_with_inputs_and_its_order(kind):
    examples = LoaderExamples(shuffling(kind))
    one = list(examples.batches(4))
    torch.rand(7), random.random()  # whatever else draws
    two = list(examples.batches(4))
    for batch in one:
        assert torch.equal(batch.inputs[:, 0], 2.0 * batch.labels)
    assert torch.cat([b.index for b in one]).tolist() == list(range(10))
    assert sorted(labels_of(one)) == list(range(10))
    assert labels_of(one) == labels_of(two)


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_differ_and_are_those_of_the_seed_whatever_else_is_read(kind):
    def epochs(examples, peek):
        shuffle, found = torch.Generator().manual_seed(0), []
        for _ in range(3):
            if peek:
                next(iter(examples.batches(4)))
                list(examples.batches(4))
            found.append(labels_of(examples.batches(4, shuffle)))
        return found

    one, two = (epochs(LoaderExamples(shuffling(kind), training=True), peek) for peek in (False, True))
    assert one == two
    assert len({tuple(epoch) for epoch in one}) == 3
    assert all(sorted(epoch) == list(range(10)) for epoch in one)


@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_loader_and_random_numbers_stay_as_they_were(kind):
    def state(loader):
        iterations = [[labels for _, labels in loader] for _ in range(2)]
        return [torch.cat(labels).tolist() for labels in iterations], torch.rand(1), random.random()

    torch.manual_seed(1)
    random.seed(1)
    expected = state(shuffling(kind))
    torch.manual_seed(1)
    random.seed(1)
    loader = shuffling(kind)
    examples = LoaderExamples(loader, training=True)
    list(examples.batches(4, torch.Generator().manual_seed(0)))
    list(examples.batches(4))
    assert state(loader) == expected


def test_two_workers_give_the_same_as_none():
    def read(workers):
        loader = DataLoader(TensorDataset(X, Y), 4, shuffle=True, generator=seeded_generator(), num_workers=workers)
        examples = LoaderExamples(loader, training=True)
        shuffle = torch.Generator().manual_seed(0)
        return [labels_of(examples.batches(4)), *(labels_of(examples.batches(4, shuffle)) for _ in range(2))]

    assert read(2) == read(0)


def replacing(**options):
    return WeightedRandomSampler(torch.ones(10), 30, generator=torch.Generator().manual_seed(0), **options)


def test_a_sampler_with_replacement_is_good_for_training_but_not_for_prediction():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4, sampler=replacing())
    with pytest.raises(DataError, match=r"sampler gives example \d more than once \(does it draw with replacement\?\)"):
        LoaderExamples(loader)
    with pytest.warns(UserWarning, match="30 examples of 10 rows.*take num_samples=10"):
        examples = LoaderExamples(loader, training=True)
    assert len(examples) == 30
    one, two = (labels_of(examples.batches(4)) for _ in range(2))
    assert len(one) == 30
    assert one == two


def test_a_batch_sampler_that_repeats_or_leaves_out_is_refused_for_prediction():
    class Batches:
        def __init__(self, *batches):
            self._batches = batches

        def __len__(self):
            return len(self._batches)

        def __iter__(self):
            return iter(self._batches)

    def load(*batches):
        return DataLoader(TensorDataset(X, Y), batch_sampler=Batches(*batches))

    with pytest.raises(DataError, match="example 0 more than once"):
        LoaderExamples(load([0, 1, 2, 3, 4], [0, 5, 6, 7, 8]))
    with pytest.raises(DataError, match="gave 9 examples of 10"):
        LoaderExamples(load([0, 1, 2, 3, 4], [5, 6, 7, 8]))
    examples = LoaderExamples(load([0, 1, 2, 3, 4], [0, 5]), training=True)
    assert (len(examples), examples.rows_per_batch(1), examples.batch_count(1)) == (7, 3.5, 2)


def test_a_subset_sampler_says_how_many_examples_there_are():
    examples = LoaderExamples(DataLoader(TensorDataset(X, Y), batch_size=2, sampler=SubsetRandomSampler([1, 3, 5])))
    assert len(examples) == 3
    assert sum(map(len, examples.batches(2))) == 3


def test_drop_last_is_good_for_training_but_not_for_prediction():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4, drop_last=True)
    examples = LoaderExamples(loader, training=True)
    assert (len(examples), examples.rows_per_batch(1)) == (10, 4)
    assert sum(map(len, examples.batches(4, torch.Generator()))) == 8
    # What is measured on the training data (a curvature, say) is measured on all of it.
    assert labels_of(examples.batches(4)) == list(range(10))
    with pytest.raises(DataError, match=r"the DataLoader gave 8 examples of 10\. To predict, every example is needed"):
        LoaderExamples(loader)


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


def test_labels_under_two_names_must_be_the_same():
    def loader(second):
        batch = {"x": torch.ones(2, 3), "label": torch.tensor([0, 1]), "labels": second}
        return LoaderExamples(DataLoader([0, 1], batch_size=2, collate_fn=lambda items: batch))

    assert next(loader(torch.tensor([0, 1])).batches(2)).labels.tolist() == [0, 1]
    with pytest.raises(DataError, match="has the labels label, labels, which differ"):
        next(loader(torch.tensor([1, 1])).batches(2))


def test_predictions_of_a_loader_that_shuffles_say_that_their_order_is_their_own(mlp, xy):
    posterior = bayespeft.fit(
        mlp, xy, "mle", targets="all-linear", train=bayespeft.TrainConfig(steps=2), progress=False
    )
    data, expected = TensorDataset(*xy), posterior.predict(xy)
    with pytest.warns(UserWarning, match="DataLoader shuffles.*shuffle=False"):
        found = posterior.predict(DataLoader(data, batch_size=7, shuffle=True))
    assert not torch.equal(found.labels, expected.labels)
    assert torch.equal(found.labels.sort().values, expected.labels.sort().values)
    # An order that the caller can have again, and a report, which has none, are as they were.
    seeded = DataLoader(data, batch_size=7, shuffle=True, generator=torch.Generator().manual_seed(0))
    assert torch.equal(posterior.predict(seeded).labels, torch.cat([y for _, y in seeded]))
    posterior.report(DataLoader(data, batch_size=7, shuffle=True), resamples=5)
