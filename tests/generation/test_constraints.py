"""What networks and callers force, forbid and penalise: transformers' own generation, closed forms, and reported numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bayespeft.errors import ConfigError, DataError
from bayespeft.generation.constraints import Constraints
from bayespeft.generation.settings import Decoding
from tests.generation.conftest import NETWORKS, PROMPTS
from tests.generation.test_generate import greedy, laws

each_network = pytest.mark.parametrize("posterior", NETWORKS, indirect=True)
TOKENS = 8


def asked(posterior) -> list[list[int]]:
    """Prompts of different lengths, one of a single token."""
    return [*posterior.likelihood.prompts(PROMPTS, posterior.tokenizer), [7]]


def variations(free: list[list[int]]) -> list[dict[str, Any]]:
    """What a generation configuration may say so that these texts change."""
    # A random network may end a text at once; which one does differs between releases of transformers.
    first, second, *_ = next(text for text in free if len(text) > 1)
    ending = {"eos_token_id": sorted({3, first, second})}
    return [
        {"forced_bos_token_id": 5},
        {"forced_bos_token_id": 0},
        {"forced_eos_token_id": 9},
        {"suppress_tokens": [second]},
        {"begin_suppress_tokens": [first]},
        {"begin_suppress_tokens": [5], "forced_bos_token_id": 5},
        {"bad_words_ids": [[first, second], [second]]},
        {"sequence_bias": {(first,): -50.0}},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
        {"repetition_penalty": 3.0},
        {"encoder_no_repeat_ngram_size": 1},
        {"encoder_repetition_penalty": 4.0},
        {"exponential_decay_length_penalty": (1, 20.0)},
        ending,
        {**ending, "min_new_tokens": 4},
        {**ending, "min_length": 6},
        {**ending, "min_length": 6, "min_new_tokens": 2},
    ]


@each_network
def test_the_mean_obeys_a_networks_configuration_as_transformers_does(posterior):
    prompts, merged = asked(posterior), posterior.merged_model("mean")
    own = posterior.model.generation_config
    free = posterior.generate(prompts, draws=0, max_new_tokens=TOKENS).tokens
    idle = []
    for said in variations(free):
        before = {name: getattr(own, name) for name in said}
        own.update(**said)
        merged.generation_config.update(**said)
        found = posterior.generate(prompts, draws=0, max_new_tokens=TOKENS).tokens
        expected = [greedy(merged, prompt, TOKENS) for prompt in prompts]
        own.update(**before)
        merged.generation_config.update(**before)
        assert found == expected, said
        idle += [said] if found == free else []
    # A network may have no token of its prompts in mind that it could then not say.
    assert all("encoder" in next(iter(said)) for said in idle), idle
    assert len(idle) <= 1


@pytest.mark.parametrize(
    "options",
    [{"min_new_tokens": 4}, {"repetition_penalty": 3.0}, {"no_repeat_ngram_size": 1}],
    ids=lambda o: next(iter(o)),
)
def test_settings_go_before_the_configuration(posterior, options):
    prompts, own = asked(posterior), posterior.model.generation_config
    free = posterior.generate(prompts, draws=0, max_new_tokens=TOKENS).tokens
    own.eos_token_id = [3, free[0][0], free[0][1]]
    plain = posterior.generate(prompts, draws=0, max_new_tokens=TOKENS).tokens
    found = posterior.generate(prompts, draws=0, max_new_tokens=TOKENS, **options).tokens
    assert found != plain
    own.update(**options)
    assert posterior.generate(prompts, draws=0, max_new_tokens=TOKENS).tokens == found
    off = {"min_new_tokens": 0, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
    assert posterior.generate(prompts, draws=0, max_new_tokens=TOKENS, **off).tokens == plain


@each_network
def test_each_draw_obeys_as_it_would_alone(posterior):
    options = {"repetition_penalty": 2.0, "no_repeat_ngram_size": 2, "forced_eos_token_id": 3}
    posterior.model.generation_config.update(**options)
    prompts = asked(posterior)
    found = posterior.generate(prompts, draws=3, max_new_tokens=TOKENS, mode="per_draw", seed=5)
    for written, prompt, draw in zip(found.tokens, found.prompt.tolist(), found.draw.tolist(), strict=True):
        with posterior.using(draw, seed=5) as model:
            assert greedy(model, prompts[prompt], TOKENS) == written


def test_an_averaged_law_is_penalised_at_the_mean_level_of_its_logits(posterior):
    penalty, prompts = 1.8, asked(posterior)
    found = posterior.generate(prompts, draws=3, max_new_tokens=5, repetition_penalty=penalty, eos_token_id=())
    assert found.tokens != posterior.generate(prompts, draws=3, max_new_tokens=5).tokens
    for prompt, written in zip(prompts, found.tokens, strict=True):
        law = torch.logsumexp(laws(posterior, prompt, written, 3), 0) - torch.tensor(3.0).log()
        level = torch.zeros(len(written), dtype=torch.float64)
        for draw in range(3):
            with posterior.using(draw) as model:
                logits = model(input_ids=torch.tensor([[*prompt, *written[:-1]]]), use_cache=False).logits[0].double()
                level += torch.logsumexp(logits[len(prompt) - 1 :], -1) / 3
        for step, token in enumerate(written):
            scores = law[step] + level[step]
            seen = torch.tensor([*prompt, *written[:step]]).unique()
            scores[seen] = torch.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
            assert int(scores.argmax()) == token


def test_reported_numbers_are_those_of_the_law_before_constraints(posterior):
    posterior.model.generation_config.update(forced_eos_token_id=9, suppress_tokens=[5, 6, 8, 20])
    prompts = asked(posterior)
    written = posterior.generate(prompts, draws=3, max_new_tokens=5, no_repeat_ngram_size=1, seed=2)
    assert all(row[-1] == 9 or ended for row, ended in zip(written.tokens, written.ended, strict=True))
    scored = posterior.score(prompts, written.tokens, draws=3, seed=2)
    torch.testing.assert_close(scored.draw_log_probs, written.draw_log_probs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scored.mutual_information, written.sequence_mutual_information, atol=1e-4, rtol=1e-3)
    for row, own in zip(scored.token_log_probs, written.token_log_probs, strict=True):
        torch.testing.assert_close(row, own[: len(row)], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["averaged", "per_draw"])
def test_how_the_work_is_cut_changes_nothing(posterior, mode):
    common = {"draws": 3, "max_new_tokens": 6, "mode": mode, "do_sample": True, "num_return_sequences": 2}
    common |= {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "min_new_tokens": 3, "min_p": 0.01}
    whole = posterior.generate(asked(posterior), **common)
    for options in ({"batch_size": 1}, {"batch_size": 3, "draws_per_pass": 2}):
        assert posterior.generate(asked(posterior), **common, **options).tokens == whole.tokens
    assert (whole.lengths >= 3).all()


def test_more_end_tokens(posterior):
    free = posterior.generate("the cat is", draws=2, max_new_tokens=6)
    token = free.tokens[0][1]
    for more in (token, [token, 60]):
        found = posterior.generate("the cat is", draws=2, max_new_tokens=6, eos_token_id=more)
        assert found.tokens[0] == free.tokens[0][: free.tokens[0].index(token) + 1]
        assert found.ended.all()


def test_stop_strings_of_the_network(posterior):
    options = {"draws": 2, "max_new_tokens": 8, "do_sample": True, "seed": 3}
    words = posterior.generate(PROMPTS[2], **options).texts[0].split()
    posterior.model.generation_config.stop_strings = words[-1]
    found = posterior.generate(PROMPTS[2], **options)
    assert found.texts[0].split() == words[: words.index(words[-1])]
    posterior.tokenizer = None
    with pytest.raises(DataError, match="without a tokenizer"):
        posterior.generate([[5]], max_new_tokens=2)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"guidance_scale": 1.5}, "guidance_scale=1.5, which can't be done with averaged"),
        ({"token_healing": True}, "token_healing=True"),
        ({"repetition_penalty": -1.0}, "generation_config can't be used: .*penalty"),
        ({"suppress_tokens": list(range(64))}, "after 0 tokens of a text every next token is forbidden"),
    ],
)
def test_configurations_that_cannot_be_used(posterior, said, message):
    posterior.model.generation_config.update(**said)
    with pytest.raises(ConfigError, match=message):
        posterior.generate(["the cat", "the dog"], draws=2, max_new_tokens=2)


def test_a_text_that_has_ended_may_have_no_token_left(posterior):
    """What every text forbids once it is over is nobody's concern: the others go on."""
    posterior.model.generation_config.update(bad_words_ids=[[0], *([0, i] for i in range(64))])
    found = posterior.generate(list(PROMPTS) * 4, draws=2, max_new_tokens=20, do_sample=True)
    assert found.ended.any()
    assert len(set(found.lengths.tolist())) > 1


def test_without_constraints_the_law_is_as_it_was():
    bare, law = SimpleNamespace(generation_config=None), torch.randn(2, 6)
    constraints = Constraints(bare, Decoding(), [[1], [2, 3]], [3], None, torch.device("cpu"))
    assert constraints(law, torch.ones(2), []) is law
