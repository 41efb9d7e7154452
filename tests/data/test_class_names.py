"""The data, the report and the network say the same name of a class, or a message says that they can't."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from torch.utils.data import DataLoader, Subset
from transformers import pipeline

import bayespeft
from bayespeft import TrainConfig
from bayespeft.data.class_names import given, names_in
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError, DataError
from bayespeft.likelihoods.sequence_classification import SequenceClassification

LONG = TrainConfig(epochs=40, batch_size=8, lr=0.02)
QUICK = TrainConfig(steps=2, batch_size=8)


@pytest.fixture
def data(sentences: Any) -> Dataset:
    """Of the classes 0 'bad' and 1 'good'; the word of that name tells which."""
    return Dataset.from_list(
        sentences, features=Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    )


def named(network: Any, *names: str) -> Any:
    network.config.id2label = dict(enumerate(names))
    network.config.label2id = {name: number for number, name in enumerate(names)}
    return network


def fit(network: Any, data: Any, tokenizer: Any, train: TrainConfig = QUICK, **options: Any) -> bayespeft.Posterior:
    return bayespeft.fit(network, data, "mle", tokenizer=tokenizer, train=train, progress=False, **options)


@pytest.mark.parametrize("names", [(), ("good", "bad"), ("bad", "good"), ("GOOD", "Bad ")])
@pytest.mark.filterwarnings("ignore:the data numbers its classes")
def test_data_report_and_exported_network_say_the_same_names(bert, data, tokenizer, names, tmp_path):
    if names:
        named(bert, *names)
    before = dict(bert.config.id2label)
    posterior = fit(bert, data, tokenizer, LONG)
    own = names or ("bad", "good")
    assert posterior.likelihood.class_names == own
    flipped = own[0].strip().casefold() == "good"
    labels = torch.tensor(data["label"])
    prediction = posterior.predict(data)
    assert torch.equal(prediction.labels, 1 - labels if flipped else labels)
    assert torch.equal(prediction.probs.argmax(1), prediction.labels)
    quote = posterior.report(data, resamples=5).quotes.uncertain[0]
    assert quote.label.strip().casefold() == data.features["label"].int2str(data[quote.index]["label"])
    written = pipeline("text-classification", model=posterior.merged_model(), tokenizer=tokenizer)
    for row in (data[0], data[1]):
        assert written(row["text"])[0]["label"].strip().casefold() == data.features["label"].int2str(row["label"])
    assert bert.config.id2label == before
    # And in another session, on a network that nobody named.
    posterior.save(tmp_path / "posterior")
    bert.config.id2label, bert.config.label2id = {0: "LABEL_0", 1: "LABEL_1"}, {"LABEL_0": 0, "LABEL_1": 1}
    loaded = bayespeft.load(tmp_path / "posterior", bert, tokenizer=tokenizer)
    assert torch.equal(loaded.predict(data).labels, prediction.labels)
    assert loaded.report(data, resamples=5).quotes.uncertain[0] == quote
    assert loaded.merged_model().config.id2label == dict(enumerate(own))


@pytest.mark.filterwarnings("ignore:the data numbers its classes")
def test_tokenised_rows_and_subsets_are_aligned_too(bert, data, tokenizer):
    named(bert, "good", "bad")
    posterior = fit(bert, data, tokenizer)
    tokenised = data.map(lambda row: tokenizer(row["text"]))
    expected = posterior.predict(data).labels
    for form in (tokenised, tokenised.with_format("torch"), Subset(data, range(24)), data.with_format("numpy")):
        assert torch.equal(posterior.predict(form).labels, expected)
    assert fit(bert, tokenised, tokenizer).predict(data).labels.tolist() == expected.tolist()


def test_numbers_of_rows_without_names_are_refused_where_data_and_network_number_otherwise(
    bert, data, tokenizer, tmp_path
):
    """The rows of the very data set, as a list, would have the other label each, and an accuracy of 0 in place of 1."""
    with pytest.warns(
        UserWarning, match="data numbers its classes 0 'bad', 1 'good', and the network 0 'good', 1 'bad'"
    ):
        posterior = fit(named(bert, "good", "bad"), data, tokenizer, LONG)
    assert posterior.report(data, resamples=5).accuracy.value == 1
    posterior.save(tmp_path / "posterior")
    words = [{"text": row["text"], "label": data.features["label"].int2str(row["label"])} for row in data]
    for one in (posterior, bayespeft.load(tmp_path / "posterior", bert, tokenizer=tokenizer)):
        for form in (data.to_list(), data.to_pandas(), data.with_format("torch").to_list()):
            with pytest.raises(DataError, match="labels here are numbers, which may be either's"):
                one.predict(form)
        assert one.report(words, resamples=5).accuracy.value == 1
        assert one.predict([{"text": row["text"]} for row in words]).labels is None
    tokens = [dict(tokenizer(row["text"]), labels=row["label"]) for row in data.to_list()]
    with pytest.raises(DataError, match="labels here are numbers"):
        posterior.predict(tokens)
    loader = DataLoader([{"input_ids": torch.tensor(row["input_ids"]), "labels": row["labels"]} for row in tokens])
    with pytest.raises(DataError, match="labels here are numbers"):
        posterior.predict(loader)
    # Where both have the same order, a number is a number.
    posterior = fit(named(bert, "bad", "good"), data, tokenizer, start=None)
    assert posterior.predict(data.to_list()).labels.tolist() == data["label"]


def test_numbers_for_labels_that_were_names_say_what_they_are_taken_for(bert, sentences, tokenizer):
    """Sorted, "agood" comes before "zbad", and the label 0 of rows that say numbers may have been "zbad"."""
    rows = [{"text": row["text"], "label": ("zbad", "agood")[row["label"]]} for row in sentences]
    with pytest.warns(UserWarning, match="nobody numbered them"):
        posterior = fit(bert, rows, tokenizer)
    with pytest.warns(UserWarning, match="a number is taken for that of 0 'agood', 1 'zbad'"):
        posterior.predict(sentences)
    assert posterior.predict(rows).labels[:2].tolist() == [1, 0]


@pytest.mark.parametrize("names", [("True", "False"), ("false", "true"), ()])
def test_true_and_false_are_names_where_classes_are_called_so(bert, sentences, tokenizer, names):
    rows = [{"text": row["text"], "label": bool(row["label"])} for row in sentences]
    posterior = fit(named(bert, *names) if names else bert, rows, tokenizer)
    first = bool(names) and names[0].casefold() == "true"
    assert posterior.predict(rows).labels.tolist() == [int(row["label"] != first) for row in rows]


@pytest.mark.filterwarnings("ignore:the data numbers its classes")
def test_what_cannot_be_aligned_is_refused(bert, data, tokenizer):
    named(bert, "good", "bad")
    tokenised = data.map(lambda row: tokenizer(row["text"])).with_format("torch")
    loader = DataLoader(tokenised.remove_columns("text"), batch_size=1)
    with pytest.raises(
        DataError, match=r"loader's data set numbers its classes 0 'bad', 1 'good', and the network 0 'good'"
    ):
        fit(bert, loader, tokenizer)
    named(bert, "positive", "negative")
    with pytest.raises(DataError, match=r"'bad' is none of the network's.*cast_column.*id2label"):
        fit(bert, data, tokenizer)
    # Labels that are not read do not matter.
    named(bert, "good", "bad")
    posterior = fit(bert, data, tokenizer)
    strange = data.cast_column("label", ClassLabel(names=["x", "y"]))
    assert posterior.report(data, resamples=5, ood={"other": strange}).ood


def test_classes_that_nobody_named_have_no_names(bert, data, tokenizer):
    assert given(["LABEL_0", "LABEL_1"]) == given(["0", "1"]) == given([]) == ()
    assert given(["1", "0"]) == ("1", "0")
    assert names_in(data) == names_in(DataLoader(data)) == names_in(Subset(data, [0])) == ("bad", "good")
    assert names_in([{"text": "a", "label": 0}]) == names_in((torch.zeros(2),)) == names_in("sst2") == ()
    source = source_of(data)
    assert source.numbered_as(()) is source.numbered_as(("bad", "good")) is source
    plain = fit(bert, [dict(row) for row in data], tokenizer)
    assert plain.likelihood.class_names == ()
    assert plain.merged_model().config.id2label == {0: "LABEL_0", 1: "LABEL_1"}


def test_missing_labels_stay_missing(data):
    rows = [{"text": "a", "label": label} for label in (0, 1, -1)]
    unknown = Dataset.from_list(rows, features=data.features)
    assert [row["label"] for row in source_of(unknown).numbered_as(("good", "bad")).rows] == [1, 0, -1]


def test_keys_of_id2label_may_be_text(bert, sentences, tokenizer):
    bert.config.id2label = {"1": "good", "0": "bad"}
    rows = [{**row, "label": ["bad", "good"][row["label"]]} for row in sentences]
    posterior = fit(bert, rows, tokenizer)
    assert posterior.likelihood.class_names == ("bad", "good")
    assert posterior.predict(rows).labels.tolist() == [row["label"] for row in sentences]


@pytest.mark.parametrize("names", [{1: "a", 2: "b"}, {"a": 0, "b": 1}, {0: "a", 2: "b"}, ["a", "b"]])
def test_names_that_number_no_outputs_are_refused(bert, sentences, tokenizer, names):
    bert.config.id2label = names
    with pytest.raises(ConfigError, match=r"id2label is .* must name the outputs 0, 1, ..."):
        fit(bert, sentences, tokenizer)


def test_a_name_of_two_classes_is_no_label(bert, sentences, tokenizer):
    likelihood = SequenceClassification(label_names=("a", "a"))
    with pytest.raises(DataError, match="row 0: label 'a' is the name of 2 of the network's classes"):
        fit(bert, [{**row, "label": "a"} for row in sentences], tokenizer, likelihood=likelihood)


def test_names_of_an_enumeration_or_of_numpy_are_their_texts(bert, sentences, tokenizer):
    class Mood(str, Enum):
        GOOD, BAD = "good", "bad"

    for kind in (Mood, np.str_):
        rows = [{"text": row["text"], "label": kind(("bad", "good")[row["label"]])} for row in sentences]
        with pytest.warns(UserWarning, match="in sorted order, 0 'bad', 1 'good'"):
            names = fit(bert, rows, tokenizer).likelihood.label_names
        assert names == ("bad", "good")
        assert {type(name) for name in names} == {str}
    rows = [{"text": row["text"], "label": (b"bad", b"good")[row["label"]]} for row in sentences]
    with pytest.raises(DataError, match=r"b'bad' \(bytes\)"):
        fit(bert, rows, tokenizer)
