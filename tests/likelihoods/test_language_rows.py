"""Rows of prompt and answer as tokens: masked, ended, cut with a word, or refused."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from bayespeft.data.source import source_of
from bayespeft.errors import DataError
from bayespeft.likelihoods.inputs import as_examples
from bayespeft.likelihoods.language_modelling import LanguageModelling, shifted
from tests.generation.conftest import bart, fitted, pairs, t5  # noqa: F401 (fixtures)


def likelihood_of(model: Any, tokenizer: Any = None, **settings: Any) -> LanguageModelling:
    return LanguageModelling(**settings).resolve(model, tokenizer, None)


def test_rows_are_tokenised_masked_and_ended(llama, tokenizer):
    likelihood = likelihood_of(llama, tokenizer)
    assert likelihood.template == "{source}\n"
    (row,) = likelihood.encode([{"source": "the cat", "target": "is good"}], tokenizer)
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["[CLS]", "the", "cat", "is", "good", "[SEP]"]
    assert row["labels"] == [-100, -100, -100, *row["input_ids"][3:]]
    (prompt,) = likelihood.encode([{"source": "the cat"}], tokenizer)
    assert prompt == {"input_ids": row["input_ids"][:3]}


def test_rows_of_an_encoder_decoder(t5, tokenizer):  # noqa: F811
    likelihood = likelihood_of(t5, tokenizer)
    rows = [{"source": "the cat", "target": "is very good"}, {"source": "the dog is very", "target": "bad"}]
    encoded = likelihood.encode(rows, tokenizer)
    assert tokenizer.convert_ids_to_tokens(encoded[0]["input_ids"]) == ["[CLS]", "the", "cat", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(encoded[0]["labels"]) == ["is", "very", "good", "[SEP]"]
    (batch,) = as_examples(source_of(rows), likelihood, tokenizer, t5).batches(2)
    assert batch.index.tolist() == [1, 0]
    bad, end = tokenizer.convert_tokens_to_ids(["bad", "[SEP]"])
    assert batch.labels.tolist() == [[bad, end, -100, -100], encoded[0]["labels"]]
    assert shifted(batch.labels, t5).tolist() == [[0, bad, end, 0], [0, *encoded[0]["labels"][:-1]]]


def test_a_long_source_loses_its_beginning_but_for_special_tokens_and_says_so(llama, tokenizer):
    likelihood = likelihood_of(llama, tokenizer, max_length=5)
    rows = [{"source": "the cat is very very", "target": "not good"}, {"source": "a", "target": "b"}]
    with pytest.warns(
        UserWarning, match=r"1 of 2 sources are longer than max_length=5 .* lost their beginning: 4 tokens"
    ):
        long, short = likelihood.encode(rows, tokenizer)
    assert tokenizer.convert_ids_to_tokens(long["input_ids"]) == ["[CLS]", "very", "not", "good", "[SEP]"]
    assert len(short["input_ids"]) == 4


def test_a_long_source_of_an_encoder_loses_its_end(t5, tokenizer):  # noqa: F811
    likelihood = likelihood_of(t5, tokenizer, max_length=4)
    with pytest.warns(UserWarning, match="lost their end: 3 tokens"):
        (row,) = likelihood.encode([{"source": "the cat is very very", "target": "good"}], tokenizer)
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["[CLS]", "the", "cat", "[SEP]"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"source": "a", "target": "a b c d e f"}], "row 0: the target has 7 tokens with its end, but at most 5 fit"),
        ([{"source": "a", "target": 3}], "row 0: column 'target' must be a string, got 3"),
        ([{"text": "a"}], r"row 0: column 'source' must be a string, got None.*this row has text"),
    ],
)
def test_rows_that_cannot_be_used(llama, tokenizer, rows, message):
    with pytest.raises(DataError, match=message):
        likelihood_of(llama, tokenizer, max_length=6).encode(rows, tokenizer)


def test_a_target_needs_something_before_it(llama):
    with pytest.raises(DataError, match="row 1: the source has no token"):
        likelihood_of(llama).joined([[1], []], [[2], [3]])


def test_nothing_is_said_where_nothing_is_cut(llama, tokenizer, pairs):  # noqa: F811
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        likelihood_of(llama, tokenizer).encode(pairs, tokenizer)
