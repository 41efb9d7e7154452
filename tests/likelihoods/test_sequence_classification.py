"""Sequence classification: rows to inputs, labels by name, logits with and without a Hugging Face output."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
import transformers
from torch import nn

import bayespeft
from bayespeft.data.batch import Batch
from bayespeft.data.columns import TableInteger
from bayespeft.data.files import read_file
from bayespeft.errors import ConfigError, DataError
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.testing import networks


def test_logits_are_those_of_the_network(bert, mlp):
    ids = torch.tensor([[2, 5, 6, 3]])
    batch = Batch({"input_ids": ids}, None, torch.arange(1))
    likelihood = SequenceClassification()
    assert torch.equal(likelihood.logits(bert, batch), bert(input_ids=ids).logits)
    x = torch.randn(2, 5)
    assert torch.equal(likelihood.logits(mlp, Batch(x, None, torch.arange(2))), mlp(x))


class Scaling(nn.Module):
    """It scales its input where it stands, as `x /= 255` in a forward does."""

    def __init__(self):
        super().__init__()
        self.network = networks.mlp()

    def forward(self, x):
        x /= 2
        x -= 0.5
        return self.network(x)


@pytest.mark.parametrize("method", ["melora", "laplace_lora"])
def test_a_network_that_writes_into_its_input_changes_no_data(method, mlp, xy):
    x, y = xy
    given = x.clone()
    options = {"targets": "all-linear", "train": bayespeft.TrainConfig(steps=3, batch_size=20), "progress": False}
    writing = bayespeft.fit(Scaling().eval(), (given, y), method, **options)
    found = [writing.predict((given, y), draws=3, draws_per_pass=size).log_probs for size in (1, 3)]
    assert torch.equal(given, x)
    plain = bayespeft.fit(mlp, (x / 2 - 0.5, y), method, **options).predict((x / 2 - 0.5, y), draws=3).log_probs
    for log_probs in found:
        torch.testing.assert_close(log_probs, plain)


def test_pairs_are_tokenised_together_and_cut(bert, tokenizer):
    likelihood = SequenceClassification(max_length=6).resolve(bert, tokenizer, None)
    rows = [{"text": "a b c d e f", "text_pair": "g h", "label": 1}]
    (encoded,) = likelihood.encode(rows, tokenizer)
    assert len(encoded["input_ids"]) == 6
    assert tokenizer.decode(encoded["input_ids"]).split().count("[SEP]") == 2
    assert encoded["labels"] == 1


def test_limit_is_the_smallest_of_network_and_user(bert, tokenizer):
    assert SequenceClassification().resolve(bert, tokenizer, None).max_length == 64
    assert SequenceClassification(max_length=10).resolve(bert, tokenizer, None).max_length == 10


@pytest.mark.parametrize("text", [None, 3, ["a"]])
def test_text_must_be_a_string(bert, tokenizer, text):
    with pytest.raises(DataError, match=r"row 1: column 'text' must be a string.*this row has text, label"):
        SequenceClassification().encode([{"text": "a", "label": 0}, {"text": text, "label": 0}], tokenizer)


def test_labels_are_checked_with_row_and_remedy():
    likelihood = SequenceClassification()
    likelihood.check_labels(torch.tensor([0, 1, 2]), 3)
    with pytest.raises(DataError, match=r"row 2 has label 3.*0..2.*num_labels=4"):
        likelihood.check_labels(torch.tensor([0, 1, 3]), 3)
    with pytest.raises(DataError, match="integer per example"):
        likelihood.check_labels(torch.tensor([0.5]), 3)
    for missing in (-1, -100):
        with pytest.raises(
            DataError, match=rf"row 1 has label {missing},.*{missing} often marks rows that have no label"
        ) as told:
            likelihood.check_labels(torch.tensor([5, missing]), 3)
        assert "num_labels" not in str(told.value)


@pytest.mark.parametrize("likelihood", ["sequence_classification", "regression"])
@pytest.mark.parametrize("label", [1, [1, 1], [1.0, 0.0]])
def test_several_right_labels_are_refused_and_not_shared_out_by_a_softmax(bert, tokenizer, likelihood, label):
    bert.config.problem_type = "multi_label_classification"
    rows = [{"text": "the cat", "label": label}] * 4
    with pytest.raises(
        ConfigError, match=r"problem_type is 'multi_label_classification'.*Take likelihood='multi_label'"
    ):
        bayespeft.fit(bert, rows, tokenizer=tokenizer, likelihood=likelihood, progress=False)


@pytest.mark.parametrize("of", [torch.tensor, np.array, np.int64, float, bool, "datasets"])
def test_labels_are_numbers_of_any_kind(of, bert, tokenizer, sentences):
    """`with_format("torch")` makes labels tensors without dimensions."""
    options = {"tokenizer": tokenizer, "train": bayespeft.TrainConfig(steps=1, batch_size=8), "progress": False}
    if of == "datasets":
        rows = datasets.Dataset.from_list(sentences).with_format("torch")
    else:
        rows = [{**row, "label": of(row["label"])} for row in sentences]
    if of is float:
        with pytest.raises(DataError, match=r"number the classes 0, 1, \.\.\. as integers"):
            bayespeft.fit(bert, rows, **options)
        return
    found = bayespeft.fit(bert, rows, **options).predict(sentences, draws=1).probs
    assert torch.equal(found, bayespeft.fit(bert, sentences, **options).predict(sentences, draws=1).probs)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [[1, 0, 1], [0, 0, 1]],
            r"\(2, 3\): these say of each label whether it is right.*pass likelihood='multi_label'",
        ),
        ([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], "these say of each label whether it is right"),
        ([[1, 0, 0], [0, 0, 1]], r"these are one-hot, so take the position .*labels.argmax\(1\)"),
        ([0.0, 2.0], "as integers; or, if these are quantities"),
        ([0.5, 2.0], "for labels that are quantities, pass likelihood='regression'"),
    ],
)
def test_labels_of_another_form_get_their_own_remedy(labels, message):
    with pytest.raises(DataError, match=message):
        SequenceClassification().check_labels(torch.tensor(labels), 3)


@pytest.mark.parametrize("column", ["label", "labels", "answer"])
def test_a_label_may_stand_in_any_column_for_labels(column, tokenizer):
    likelihood = SequenceClassification(label_names=("no", "yes"))
    rows = [{"text": "the cat", column: "yes"}, {"text": "the dog", column: 0}]
    assert [row["labels"] for row in likelihood.encode(rows, tokenizer)] == [1, 0]
    with pytest.raises(DataError, match=r"row 0 has the labels \{'label': 1, 'labels': 0\}, which differ"):
        likelihood.encode([{"text": "a", "label": 1, "labels": 0}], tokenizer)


def test_a_text_that_is_cut_says_how_long_it_was(tokenizer):
    likelihood = SequenceClassification(max_length=4)
    short, long = likelihood.encode([{"text": "the cat"}, {"text": "the cat is very good"}], tokenizer)
    assert "whole" not in short
    assert (len(long["input_ids"]), long["whole"]) == (4, 7)
    assert tokenizer.convert_ids_to_tokens(long["input_ids"]) == ["[CLS]", "the", "cat", "[SEP]"]


def test_a_network_that_fails_on_the_data_says_so_by_shape_and_type(mlp, xy):
    x, y = xy
    for bad, what in ((x[:, :2], "float32"), ((10 * x).long(), "int64")):
        with pytest.raises(DataError, match=rf"Sequential fails on a batch of x \(2, {bad.shape[1]}\) torch.{what}:"):
            bayespeft.fit(mlp, (bad, y), targets="all-linear", progress=False)


def test_an_end_token_inside_a_text_of_an_encoder_decoder_is_refused_by_row():
    config = transformers.T5Config(
        vocab_size=32, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, num_labels=2, decoder_start_token_id=0
    )
    rows = [{"input_ids": [5, 6, 7, 1], "labels": k % 2} for k in range(6)]
    model = transformers.T5ForSequenceClassification(config)
    options = {"guide": "mle", "train": bayespeft.TrainConfig(steps=1, batch_size=2), "progress": False}
    posterior = bayespeft.fit(model, rows, **options)
    wrong = [*rows[:4], {"input_ids": [5, 1, 7, 1], "labels": 0}]
    for refused in (lambda: bayespeft.fit(model, wrong, **options), lambda: posterior.predict(wrong)):
        with pytest.raises(DataError, match=r"example 4 holds the end token \(number 1\) 2 times and others 1 times"):
            refused()


def test_numbers_are_names_where_strings_that_are_numbers_named_the_classes(bert):
    """A file whose rows lack the class "3+" gives its labels as numbers."""
    rows = [{"text": "a", "label": name} for name in ("1", "3+", "2")]
    with pytest.warns(UserWarning, match="the labels are strings"):
        found = SequenceClassification(label_names=("LABEL_0", "LABEL_1", "LABEL_2")).resolve(bert, None, rows)
    assert found.label_names == ("1", "2", "3+")
    assert [found.label(label, 0) for label in ("1", 1, "2", 2, "3+")] == [0, 0, 1, 1, 2]
    with pytest.raises(DataError, match="label '3' is not among the network's classes 1, 2, 3\\+"):
        found.label(3, 0)
    # Whoever names outputs numbers them, too, and so does who names them by words.
    assert SequenceClassification(label_names=("1", "2")).label(1, 0) == 1
    assert SequenceClassification(label_names=("cat", "dog"), named_by_labels=True).label(1, 0) == 1


def test_the_cells_of_a_table_mean_the_same_whichever_of_them_occur(bert, tmp_path):
    """A network whose outputs are called 1, 2 and 3: without the class 3, too, "1" is its first one."""
    path = tmp_path / "some.csv"
    path.write_text("text,label\na,1\nb,2\n")
    likelihood = SequenceClassification(label_names=("1", "2", "3"))
    cells = [row["label"] for row in read_file(path)]
    assert [likelihood.label(label, 0) for label in cells] == [0, 1]
    assert [likelihood.label(label, 0) for label in (1, 2)] == [
        1,
        2,
    ]  # whoever numbers labels in code follows the network
    assert [SequenceClassification().label(label, 0) for label in cells] == [1, 2]
    with pytest.raises(DataError, match="label '0' is not among"):
        likelihood.label(TableInteger(0), 0)


def test_single_texts_where_training_rows_were_pairs_are_told_of(bert, tokenizer, sentences, tmp_path):
    """A column of another name in the test rows was dropped, and half of what the network was fitted to was missing."""
    pairs = [{**row, "text_pair": "good"} for row in sentences]
    options = {"tokenizer": tokenizer, "train": bayespeft.TrainConfig(steps=2), "progress": False}
    bayespeft.fit(bert, pairs, "mle", **options).save(tmp_path / "posterior")
    posterior = bayespeft.load(tmp_path / "posterior", bert, tokenizer=tokenizer)
    expected = posterior.predict(pairs)
    other = [{"text": row["text"], "second": "good"} for row in sentences]
    with pytest.warns(UserWarning, match="training rows have a 'text_pair' and these have none.*have text, second"):
        posterior.predict(other)
    assert torch.equal(posterior.predict(other, columns={"text_pair": "second"}).probs, expected.probs)
    single = bayespeft.fit(bert, sentences, "mle", **options)
    with pytest.warns(UserWarning, match="these rows have a 'text_pair' and those of the training have none"):
        single.predict(pairs)
    single.predict(sentences[:1])
