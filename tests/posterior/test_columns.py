"""Columns of any name: what is fitted and predicted is what rows under our names give, bit by bit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError, DataError
from bayespeft.testing.networks import SIZES, SPREAD

QUICK = TrainConfig(steps=2, batch_size=8)


def fit(network: Any, data: Any, tokenizer: Any, **options: Any) -> bayespeft.Posterior:
    options = {"guide": "melora", "train": QUICK, "progress": False, "targets": "all-linear", **options}
    return bayespeft.fit(network, data, tokenizer=tokenizer, **options)


def renamed(rows: Any, **names: str) -> list[dict[str, Any]]:
    return [{names.get(name, name): value for name, value in row.items()} for row in rows]


@pytest.mark.filterwarnings("ignore:no temperature is best:UserWarning")
def test_columns_are_said_once_and_remembered(bert: Any, sentences: Any, tokenizer: Any, tmp_path: Path) -> None:
    expected = fit(bert, sentences, tokenizer)
    own, said = renamed(sentences, text="body", label="gold"), {"text": "body", "label": "gold"}
    posterior = fit(bert, own, tokenizer, columns=said, validation=own[:4])
    assert posterior.columns == said
    log_probs = expected.predict(sentences).log_probs
    for data in (own, sentences, renamed(sentences, text="review")):
        assert torch.equal(posterior.predict(data).log_probs, log_probs)
    posterior.save(tmp_path / "posterior")
    loaded = bayespeft.load(tmp_path / "posterior", bert, tokenizer=tokenizer)
    assert loaded.columns == said
    found = loaded.report(own, resamples=5, ood={"other": renamed(own, gold="stars")})
    assert found.to_dict()["nll"] == expected.report(sentences, resamples=5).to_dict()["nll"]
    assert found.quotes.uncertain[0].text == sentences[found.quotes.uncertain[0].index]["text"]
    # Other columns, for one call.
    stars = renamed(sentences, text="review", label="stars")
    assert loaded.predict(stars).labels is None
    assert loaded.predict(stars, columns={"label": "stars"}).labels.tolist() == [row["label"] for row in sentences]
    with pytest.raises(DataError, match=r"a report needs labels"):
        loaded.report(stars)
    assert loaded.report(stars, resamples=5, columns={"label": "stars"}).n == 24
    sets = loaded.conformal(stars, columns={"label": "stars"})
    assert torch.equal(torch.as_tensor(sets.sets(stars)), torch.as_tensor(sets.sets(own)))
    decision = loaded.decide(stars, 0.4, validation=stars, columns={"label": "stars"})
    assert decision.rules == loaded.decide(own, 0.4, validation=own).rules
    assert (
        loaded.with_temperature(stars, columns={"label": "stars"}).temperature
        == loaded.with_temperature(own).temperature
    )
    # Training goes on with what was said.
    assert fit(bert, own, tokenizer, start=loaded).columns == said


def test_usual_names_and_forms_give_the_same(bert: Any, sentences: Any, tokenizer: Any, tmp_path: Path) -> None:
    rows = [{**row, "text_pair": "the dog ran"} for row in sentences]
    expected = fit(bert, rows, tokenizer).predict(rows)
    own = renamed(rows, text="premise", text_pair="hypothesis")
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, own[0])
        writer.writeheader()
        writer.writerows(own)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
    hub = datasets.Dataset.from_list(own)
    for form in (own, hub, hub.to_pandas(), datasets.DatasetDict(train=hub, test=hub), tmp_path / "rows.csv",
                 str(tmp_path / "rows.jsonl"), iter(own)):  # fmt: skip
        posterior = fit(bert, form, tokenizer)
        found = posterior.predict(own if hasattr(form, "__next__") else form)
        assert torch.equal(found.log_probs, expected.log_probs)
        assert torch.equal(found.labels, expected.labels)


def test_answers_of_arc_are_those_of_lists(llama: Any, questions: Any, tokenizer: Any) -> None:
    letters = "ABC"
    own = [
        {
            "id": "x",
            "question": row["question"],
            "choices": {"text": row["choices"], "label": list(letters)},
            "answerKey": letters[row["answer"]],
        }
        for row in questions
    ]
    expected = fit(llama, questions, tokenizer).predict(questions)
    found = fit(llama, datasets.Dataset.from_list(own), tokenizer).predict(own)
    assert torch.equal(found.log_probs, expected.log_probs)
    assert found.labels.tolist() == [row["answer"] for row in questions]


def test_labels_that_nobody_numbered_are_numbered_in_sorted_order(
    bert: Any, sentences: Any, tokenizer: Any, tmp_path: Path
) -> None:
    words = [{"text": row["text"], "label": ["zeal", "anger"][row["label"]]} for row in sentences]
    with pytest.warns(
        UserWarning, match=r"the classes are, in sorted order, 0 'anger', 1 'zeal'. Set model.config.id2label"
    ):
        posterior = fit(bert, words, tokenizer)
    assert posterior.likelihood.class_names == ("anger", "zeal")
    assert posterior.predict(words).labels.tolist() == [1 - row["label"] for row in sentences]
    posterior.save(tmp_path / "posterior")
    loaded = bayespeft.load(tmp_path / "posterior", bert, tokenizer=tokenizer)
    # One row alone knows its number, too.
    assert loaded.predict(words[:1]).labels.tolist() == [1]
    assert bert.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    with pytest.raises(DataError, match="row 0: label 'joy' is not among the network's classes anger, zeal"):
        loaded.predict([{"text": "a", "label": "joy"}])
    with pytest.raises(
        DataError, match=r"3 different labels \(0 'anger', 1 'joy', 2 'zeal'\), and the network has 2 outputs"
    ):
        fit(bert, [*words, {"text": "a", "label": "joy"}], tokenizer)
    # Where transformers' own words are the labels, they say their numbers.
    plain = [{"text": row["text"], "label": f"LABEL_{row['label']}"} for row in sentences]
    assert fit(bert, plain, tokenizer).predict(plain).labels.tolist() == [row["label"] for row in sentences]


def test_labels_in_lists_that_nobody_numbered_are_numbered_likewise(
    bert: Any, sentences: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """Several labels of a text, none of them in the first row; and a tag of each word."""
    lists = [[], ["zeal"], ["zeal", "anger"], ["anger"]]
    several = [{"text": row["text"], "label": lists[i % 4]} for i, row in enumerate(sentences)]
    network = BertForTokenClassification(BertConfig(**SIZES, num_labels=3, initializer_range=SPREAD)).eval()
    tagged = [
        {
            "tokens": row["text"].split(),
            "ner_tags": [("O", "I-x", "B-x")[k % 3] for k, _ in enumerate(row["text"].split())],
        }
        for row in sentences
    ]
    with pytest.warns(UserWarning, match=r"the classes are, in sorted order, 0 'anger', 1 'zeal'"):
        posterior = fit(bert, several, tokenizer, likelihood="multi_label")
    assert posterior.likelihood.class_names == ("anger", "zeal")
    expected = [[0, 0], [0, 1], [1, 1], [1, 0]]
    assert posterior.predict(several).labels.tolist() == [expected[i % 4] for i in range(len(several))]
    posterior.save(tmp_path / "several")
    loaded = bayespeft.load(tmp_path / "several", bert, tokenizer=tokenizer)
    assert loaded.predict(several[1:2]).labels.tolist() == [[0, 1]]
    with pytest.warns(UserWarning, match="labels here are numbers, and those of the training rows were names"):
        loaded.predict([{"text": "a", "label": [1]}])
    with pytest.raises(DataError, match=r"3 different labels .* and the network has 2 outputs"):
        fit(bert, [*several, {"text": "a", "label": ["joy"]}], tokenizer, likelihood="multi_label")
    with pytest.warns(UserWarning, match=r"in sorted order, 0 'B-x', 1 'I-x', 2 'O'"):
        words = fit(network, tagged, tokenizer, likelihood="token_classification")
    assert words.likelihood.class_names == ("B-x", "I-x", "O")
    labels = words.predict(tagged[:1]).labels[0]
    assert labels[labels >= 0].tolist() == [(2, 1, 0)[k % 3] for k, _ in enumerate(tagged[0]["tokens"])]


def test_digits_are_sorted_as_numbers(bert: Any, sentences: Any, tokenizer: Any) -> None:
    rows = [{"text": row["text"], "label": ["9", "10"][row["label"]]} for row in sentences]
    with pytest.warns(UserWarning, match=r"in sorted order, 0 '9', 1 '10'"):
        posterior = fit(bert, rows, tokenizer)
    assert posterior.predict(rows).labels.tolist() == [row["label"] for row in sentences]


def test_columns_of_data_without_any_are_an_error(mlp: Any, xy: Any, bert: Any, sentences: Any, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="columns= names columns of rows, and data is a tuple"):
        bayespeft.fit(mlp, xy, "mle", columns={"label": "y"}, train=QUICK, progress=False)
    with pytest.raises(DataError, match=r"column 'text' must be a string, got None.*columns=\{'text': 'tweet'\}"):
        fit(bert, renamed(sentences, text="tweet"), tokenizer)


@pytest.mark.filterwarnings("ignore:the data numbers its classes")
def test_names_of_classes_of_a_column_that_was_named(bert: Any, sentences: Any, tokenizer: Any) -> None:
    data = datasets.Dataset.from_list(renamed(sentences, label="gold"))
    data = data.cast_column("gold", datasets.ClassLabel(names=["bad", "good"]))
    posterior = fit(bert, data, tokenizer, columns={"label": "gold"})
    assert posterior.likelihood.class_names == ("bad", "good")
    bert.config.id2label = {0: "good", 1: "bad"}
    turned = fit(bert, data, tokenizer, columns={"label": "gold"}).predict(data)
    assert turned.labels.tolist() == [1 - row["label"] for row in sentences]
