"""Every form of prompt, what stands around it, and what is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import bayespeft
from bayespeft.errors import DataError
from bayespeft.likelihoods.language_modelling import LanguageModelling


def test_every_form_of_prompt(posterior):
    tokenizer = posterior.tokenizer
    ids = posterior.likelihood.prompts(["the cat is", "the dog"], tokenizer)
    text = posterior.generate(["the cat is", "the dog"], draws=2, max_new_tokens=3)
    padded = {"input_ids": [ids[0], [0] * (len(ids[0]) - len(ids[1])) + ids[1]]}
    padded["attention_mask"] = [[int(token != 0) for token in row] for row in padded["input_ids"]]
    for prompts in (ids, [torch.tensor(row) for row in ids], padded):
        assert posterior.generate(prompts, draws=2, max_new_tokens=3).tokens == text.tokens
    one, ones = ids[0], [1] * len(ids[0])
    for prompts in (
        torch.tensor([one]),
        torch.tensor(one),
        one,
        np.array([one]),
        {"input_ids": one, "attention_mask": ones},
        {"input_ids": torch.tensor(one)},
        {"input_ids": [one], "attention_mask": [ones]},
    ):
        assert posterior.generate(prompts, draws=2, max_new_tokens=3).tokens == text.tokens[:1]
    for prompts in ({"input_ids": ids}, {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}):
        assert posterior.generate(prompts, draws=2, max_new_tokens=3).tokens == text.tokens


def test_the_template_of_the_likelihood_is_written_around_a_prompt(llama, tokenizer, pairs):
    plain = bayespeft.fit(
        llama, pairs, "mle", likelihood=LanguageModelling(template="Question : {source} Answer "), tokenizer=tokenizer,
        train=bayespeft.TrainConfig(steps=1), progress=False,
    )  # fmt: skip
    found = plain.generate("the cat", draws=0, max_new_tokens=2)
    assert found.prompts == ("Question : the cat Answer",)


def test_label_tokens_posteriors_write_after_prompts_as_they_are(llama, tokenizer, questions):
    posterior = bayespeft.fit(
        llama, questions, tokenizer=tokenizer, train=bayespeft.TrainConfig(steps=1), progress=False
    )
    found = posterior.generate("the cat is", draws=2, max_new_tokens=2)
    assert found.prompts == ("the cat is",)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompts"),
        ([[]], "prompt 0 has no token"),
        (["a", [1]], "some prompts are texts and others are tokens"),
        ([[1.5]], "prompt 0 is"),
        ([[1], [5, 64]], "prompt 1 has the token 64"),
        (torch.zeros(2), "tokens must be integers"),
        (None, "prompts are None"),
        (5, "prompts are 5"),
        ([4, [5]], "prompt 0 is 4"),
        ([b"the cat"], "prompt 0 is b'the cat': bytes are no text, so decode them"),
        ([bytearray(b"the cat")], r"prompt 0 is .*: bytes are no text, so decode them"),
        (b"the cat", "prompts are b'the cat': bytes are no text, so decode them"),
        ([[5, -100]], "prompt 0 has the token -100"),
        ({"input_ids": torch.ones(1, 2)}, "tokens must be integers"),
        ({"input_ids": [[4.0, 5.0]]}, "prompt 0 is"),
        ({"input_ids": None}, "needs input_ids"),
        (
            {"input_ids": [[4], [5, 6]], "attention_mask": [[1], [1]]},
            "prompt 1 has 2 tokens, and its attention_mask has 1",
        ),
        ({"input_ids": [[4], [5]], "attention_mask": [[1]]}, "attention_mask has 1 rows for 2 prompts"),
        ({"input_ids": [[4], [5]], "attention_mask": [[1], [0]]}, "prompt 1 has no token"),
        ({"ids": [1]}, "needs input_ids"),
        (["the cat", "\ud83d cat"], r"prompt 1 has a character that is none, '\\ud83d' at position 0"),
        ([{"role": "user", "content": "\ud83d"}], "prompt 0 has a character that is none"),
        ([[5] * 60], "prompt 0 has 60 tokens, and max_new_tokens=64, but the network knows 64 positions"),
    ],
)
def test_prompts_that_cannot_be_used(posterior, prompts, message):
    with pytest.raises(DataError, match=message):
        posterior.generate(prompts)


def test_text_without_a_tokenizer(posterior):
    bare = replace(posterior, tokenizer=None)
    for prompts, options in (("the cat", {}), ([[5]], {"stop": "x"})):
        with pytest.raises(DataError, match="tokenizer"):
            bare.generate(prompts, max_new_tokens=2, **options)
    found = bare.generate([[2, 5, 6]], draws=2, max_new_tokens=3)
    assert (found.texts, found.pieces, found.prompts) == (None, None, None)
