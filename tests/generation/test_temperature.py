"""A temperature is fitted for answers, and holds for answers: texts are written and scored as the network says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError


@pytest.fixture
def answering(llama, tokenizer, questions):
    train = TrainConfig(steps=4, batch_size=4, lr=0.1, kl_weight=0.0)
    posterior = bayespeft.fit(llama, questions, tokenizer=tokenizer, train=train, progress=False)
    assert posterior.likelihood.kind == "label_tokens"
    return posterior


def test_a_temperature_of_answers_is_none_of_texts(answering, questions):
    plain, tempered = (replace(answering, temperature=t) for t in (1.0, 3.0))
    prompts = ["the cat is ", "very good "]
    one, other = (p.generate(prompts, draws=2, max_new_tokens=4) for p in (plain, tempered))
    assert torch.equal(one.sequences, other.sequences)
    for name in ("token_log_probs", "entropy", "mutual_information", "draw_log_probs"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    targets = ["good", "bad sat"]
    assert torch.equal(
        plain.score(prompts, targets, draws=2).draw_log_probs, tempered.score(prompts, targets, draws=2).draw_log_probs
    )
    # Answers are tempered, every draw's.
    cold, warm = (p.predict(questions, draws=2, keep_draws=True).draw_log_probs.double() for p in (plain, tempered))
    torch.testing.assert_close(warm, (cold / 3).log_softmax(-1), atol=1e-5, rtol=1e-5)


def test_what_has_no_classes_takes_no_temperature(posterior):
    with pytest.raises(ConfigError, match=r"temperature=2.0: it divides logits of classes, and .*'language_modelling'"):
        replace(posterior, temperature=2.0)
