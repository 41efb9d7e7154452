"""Scores against one plain pass for each draw and pair."""

from __future__ import annotations

import pytest
import torch

from bayespeft.errors import ConfigError, DataError
from tests.generation.conftest import NETWORKS, PROMPTS, fitted
from tests.generation.laws import entropy, laws

TARGETS = ("good", "very bad sat", "dog dog", "is")
DRAWS = 3
each_network = pytest.mark.parametrize("posterior", NETWORKS, indirect=True)


@each_network
def test_scores_are_those_of_each_pair_alone(posterior):
    found = posterior.score(list(PROMPTS), list(TARGETS), draws=DRAWS, batch_size=3)
    language, tokenizer = posterior.likelihood, posterior.tokenizer
    close = {"atol": 2e-5, "rtol": 2e-4, "check_dtype": False}
    for i, prompt in enumerate(language.prompts(PROMPTS, tokenizer)):
        target = language.reader(tokenizer).target(TARGETS[i])
        by_draw = laws(posterior, prompt, target, DRAWS)
        probs, own = (
            by_draw.exp().mean(0),
            by_draw.gather(-1, torch.tensor(target).expand(DRAWS, -1)[..., None])[..., 0],
        )
        assert int(found.tokens[i]) == len(target)
        torch.testing.assert_close(found.draw_log_probs[:, i], own.sum(1), **close)
        torch.testing.assert_close(found.log_probs[i], own.sum(1).exp().mean().log(), **close)
        torch.testing.assert_close(found.normalised_log_probs[i], own.sum(1).exp().mean().log() / len(target), **close)
        torch.testing.assert_close(found.token_log_probs[i], own.exp().mean(0).log(), **close)
        information = entropy(probs) - entropy(by_draw.exp()).mean(0)
        information += (by_draw.exp().var(0) / probs).sum(-1) / (2 * DRAWS)
        torch.testing.assert_close(found.token_mutual_information[i], information, **close)
        torch.testing.assert_close(found.mutual_information[i], information.sum(), **close)


@each_network
def test_what_was_written_scores_as_it_was_written(posterior):
    written = posterior.generate(list(PROMPTS), draws=DRAWS, max_new_tokens=5, do_sample=True, seed=2)
    found = posterior.score(list(PROMPTS), written.tokens, draws=DRAWS, seed=2)
    torch.testing.assert_close(found.draw_log_probs, written.draw_log_probs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.mutual_information, written.sequence_mutual_information, atol=1e-4, rtol=1e-3)
    for row, own, n in zip(found.token_log_probs, written.token_log_probs, written.lengths.tolist(), strict=True):
        torch.testing.assert_close(row, own[:n], atol=1e-4, rtol=1e-4)


@each_network
def test_prediction_of_rows_is_the_score(posterior, pairs):
    predicted = posterior.predict(pairs, draws=DRAWS, keep_draws=True)
    found = posterior.score([row["source"] for row in pairs], [row["target"] for row in pairs], draws=DRAWS)
    torch.testing.assert_close(predicted.log_likelihood, found.log_probs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(predicted.draw_log_likelihood.double(), found.draw_log_probs, atol=1e-4, rtol=1e-4)
    assert torch.equal(predicted.tokens, found.tokens)


def test_a_point_knows_nothing_of_draws(llama, tokenizer, pairs):
    found = fitted(llama, tokenizer, pairs, "mle").score(list(PROMPTS), list(TARGETS))
    assert found.draws == 0
    assert len(found) == 4
    assert not found.mutual_information.any()
    torch.testing.assert_close(
        found.log_probs, torch.stack([own.double().sum() for own in found.token_log_probs]), atol=1e-5, rtol=1e-5
    )


def test_one_prompt_and_target(posterior):
    one = posterior.score(PROMPTS[0], TARGETS[0], draws=2)
    torch.testing.assert_close(one.log_probs, posterior.score(list(PROMPTS), list(TARGETS), draws=2).log_probs[:1])
    tokens = posterior.likelihood.reader(posterior.tokenizer).target(TARGETS[0])
    prompt = torch.tensor(posterior.likelihood.prompts(PROMPTS[:1], posterior.tokenizer)[0])
    for form in (tokens, torch.tensor(tokens), [torch.tensor(tokens)]):
        found = posterior.score({"input_ids": prompt}, form, draws=2)
        torch.testing.assert_close(found.log_probs, one.log_probs)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["a"], "4 prompts and 1 targets"),
        ([[1], [2], [], [3]], "target 2 has no token"),
        ([[1], [2], [99], [3]], r"target 2 has the token 99, and the network knows 0..63: was it made by another"),
        ([[1], [2, -100, 5], [4], [3]], r"target 1 has the token -100, .* leave out what is to be ignored\."),
        ([b"good"] * 4, "target 0 is b'good': bytes are no text, so decode them"),
        (b"good", "targets are b'good': bytes are no text, so decode them"),
        ([["a"]] * 4, "target 0 is \\['a'\\]"),
        (["good", [5, 6], "is", "bad"], "some targets are texts and others are tokens"),
        (torch.full((4, 2), 5), "a list for each target"),
        ({"input_ids": [[5]] * 4, "attention_mask": [[1]] * 4}, "targets are {"),
        (None, "targets are None"),
    ],
)
def test_targets_that_cannot_be_used(posterior, targets, message):
    with pytest.raises(DataError, match=message):
        posterior.score(list(PROMPTS), targets)


def test_draws_cannot_be_negative(posterior):
    with pytest.raises(ConfigError, match="draws=-2"):
        posterior.score(list(PROMPTS), list(TARGETS), draws=-2)
