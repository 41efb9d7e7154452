"""Questions with choices as prompts."""

from __future__ import annotations

import pytest

from bayespeft.errors import DataError
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.likelihoods.prompts import multiple_choice


def test_prompt_is_lettered_and_ends_before_the_answer():
    text = multiple_choice("Is it?", ["yes", "no"], LabelTokens().template)
    assert text == "Question: Is it?\nA. yes\nB. no\nAnswer:"


def test_braces_in_a_question_are_harmless():
    assert multiple_choice("{x} {choices}", ["a", "b"], "{question}|{choices}") == "{x} {choices}|A. a\nB. b"


def test_more_choices_than_labels_is_an_error(tokenizer, questions, llama):
    likelihood = LabelTokens().resolve(llama, tokenizer, questions)
    with pytest.raises(DataError, match=r"row 0 has 4 choices, but there are 3 labels \(A, B, C\)"):
        likelihood.encode([{"question": "?", "choices": list("abcd"), "answer": 0}], tokenizer)


@pytest.mark.parametrize("choices", [None, "ab", ["a"]])
def test_choices_must_be_a_list(tokenizer, llama, choices):
    with pytest.raises(DataError, match="row 0: column 'choices'"):
        LabelTokens().resolve(llama, tokenizer, [{"question": "?", "choices": choices}])


def test_a_prompt_ends_where_its_text_ends(tokenizer, questions, llama):
    """This tokenizer writes [SEP] behind every text; the network must not see it before it answers."""
    likelihood = LabelTokens().resolve(llama, tokenizer, questions)
    (row,) = likelihood.encode(questions[:1], tokenizer)
    assert tokenizer.convert_ids_to_tokens(row["input_ids"])[-2:] == ["Answer", ":"]
    assert row["input_ids"][0] == tokenizer.cls_token_id


def test_other_labels_stand_before_the_choices(tokenizer, llama):
    rows = [{"question": "a", "choices": ["cat", "dog"], "answer": 0}]
    likelihood = LabelTokens(labels=("good", "bad")).resolve(llama, tokenizer, rows)
    assert multiple_choice("a", ["cat", "dog"], "{choices}", likelihood.labels) == "good. cat\nbad. dog"
    assert tokenizer.convert_tokens_to_ids(["good", "bad"]) == list(likelihood.token_ids)
