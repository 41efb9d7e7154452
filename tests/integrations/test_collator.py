"""A trainer reads raw rows as `fit` does, and leaves those that are tensors to the collator of the trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value

pytest.importorskip("accelerate", reason="transformers' Trainer needs it")

from bayespeft.errors import DataError
from bayespeft.integrations import BayesTrainer
from bayespeft.likelihoods import LabelTokens

pytestmark = pytest.mark.filterwarnings("ignore")  # of the trainer's own

CHOICES = ["cat", "dog", "fine", "bad"]


def trained(network: Any, args: Any, rows: Any, reader: Any, **options: Any) -> BayesTrainer:
    trainer = BayesTrainer(network, args, train_dataset=rows, processing_class=reader, **options)
    trainer.train()
    return trainer


@pytest.fixture
def tokens(sentences, tokenizer) -> list[dict[str, Any]]:
    return [{**tokenizer(row["text"]), "labels": row["label"]} for row in sentences]


def renamed(rows: Any) -> list[dict[str, Any]]:
    return [{"number": 1.5, "said": row["text"], "gold": row["label"]} for row in rows]


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (list, {}),
        (Dataset.from_list, {}),
        (lambda rows: Dataset.from_list([{"sentence": r["text"], "idx": 3, "label": r["label"]} for r in rows]), {}),
        (lambda rows: Dataset.from_list(renamed(rows)), {"columns": {"text": "said", "label": "gold"}}),
    ],
)
def test_texts_are_read_as_tokens_would_be(bert, tokenizer, sentences, tokens, arguments, make, options):
    args, rows = arguments(max_steps=3), make(sentences)
    expected = trained(bert, args, tokens, tokenizer).predict(tokens)
    trainer = trained(bert, args, rows, tokenizer, eval_dataset=rows, **options)
    found = trainer.predict(rows)
    np.testing.assert_array_equal(found.predictions, expected.predictions)
    np.testing.assert_array_equal(found.label_ids, [row["label"] for row in sentences])
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected.metrics["test_loss"])
    assert trainer.posterior().predict(rows).probs.shape == (24, 2), "the posterior knows the columns"


def test_a_column_of_labels_is_the_one_that_the_arguments_name(bert, tokenizer, tokens, arguments):
    rows = Dataset.from_list([{"gold" if name == "labels" else name: v for name, v in row.items()} for row in tokens])
    found = trained(bert, arguments(max_steps=1, label_names=["gold"]), rows, tokenizer).predict(rows)
    expected = trained(bert, arguments(max_steps=1), tokens, tokenizer).predict(tokens)
    np.testing.assert_array_equal(found.predictions, expected.predictions)
    np.testing.assert_array_equal(found.label_ids, expected.label_ids)


@pytest.mark.parametrize("make", [list, Dataset.from_list])
def test_questions_with_unlike_numbers_of_choices(llama, tokenizer, arguments, make):
    rows = make(
        [
            {
                "question": f"the {CHOICES[i % 2]} is" + " very" * (i % 4),
                "choices": CHOICES[: 2 + i % 3],
                "answer": i % 2,
            }
            for i in range(12)
        ]
    )
    trainer = trained(llama, arguments(max_steps=2, per_device_train_batch_size=4), rows, tokenizer)
    found = trainer.predict(rows).predictions
    expected = trainer.posterior().predict(rows, draws=5, seed=3).probs.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for row, probs in zip(rows, found, strict=True):
        assert (probs[len(row["choices"]) :] == 0).all()
    # Rows that are tokenised already say as much in a column that the network does not take.
    likelihood = trainer.posterior().likelihood
    tokens = Dataset.from_list(
        [{name: value for name, value in row.items() if name != "whole"} for row in likelihood.encode(rows, tokenizer)]
    )
    options = {"likelihood": LabelTokens(token_ids=likelihood.token_ids)}
    again = trained(llama, arguments(max_steps=2, per_device_train_batch_size=4), tokens, tokenizer, **options)
    np.testing.assert_array_equal(again.predict(tokens).predictions, found)


def test_classes_are_numbered_as_the_network_does(bert, tokenizer, sentences, arguments):
    bert.config.id2label, bert.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    features = Features({"text": Value("string"), "label": ClassLabel(names=["good", "bad"])})
    other = Dataset.from_list([{"text": r["text"], "label": 1 - r["label"]} for r in sentences], features=features)
    expected = trained(bert, arguments(max_steps=2), sentences, tokenizer).predict(sentences)
    found = trained(bert, arguments(max_steps=2), other, tokenizer).predict(other)
    np.testing.assert_array_equal(found.predictions, expected.predictions)
    np.testing.assert_array_equal(found.label_ids, expected.label_ids)
    with pytest.raises(DataError, match="align it first"):
        BayesTrainer(
            bert,
            arguments(),
            train_dataset=other.map(lambda row: tokenizer(row["text"])),
            processing_class=tokenizer,
        )


def test_a_collator_of_one_s_own_is_given_rows_as_they_are(bert, tokenizer, sentences, tokens, arguments):
    def collate(rows: Any) -> Any:
        batch = tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([row["label"] for row in rows])}

    args = arguments(max_steps=2, remove_unused_columns=False)
    found = trained(bert, args, sentences, tokenizer, data_collator=collate).predict(sentences)
    expected = trained(bert, arguments(max_steps=2), tokens, tokenizer).predict(tokens)
    np.testing.assert_array_equal(found.predictions, expected.predictions)


@pytest.mark.parametrize(
    ("rows", "reader", "words"),
    [
        ([{"text": "a", "label": 0}] * 4, False, "there is no tokenizer"),
        ([{"foo": 1, "label": 0}] * 4, True, "column 'text' must be a string"),
    ],
)
def test_rows_that_can_not_be_read_are_told(bert, tokenizer, arguments, rows, reader, words):
    with pytest.raises(DataError, match=words):
        BayesTrainer(bert, arguments(), train_dataset=rows, processing_class=tokenizer if reader else None)
