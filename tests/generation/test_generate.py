"""Writing: averaged laws against explicit averages without a cache, padding, seeds, stops, transformers' greedy search."""

from __future__ import annotations

import copy

import pytest
import torch

import bayespeft
from bayespeft.errors import AttachError, ConfigError
from bayespeft.generation.generate import pieces_of
from bayespeft.guides.mean_field import MeanField
from tests.generation.conftest import PROMPTS, fitted
from tests.generation.laws import DRAWS, each_network, laws


def greedy(model, prompt: list[int], tokens: int) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, pad_token_id=0
    )
    return out[0, 1 if model.config.is_encoder_decoder else len(prompt) :].tolist()


@each_network
def test_the_mean_writes_what_transformers_writes_with_the_merged_network(posterior):
    found = posterior.generate(list(PROMPTS), draws=0, max_new_tokens=6)
    assert found.draws == 0
    merged = posterior.merged_model("mean")
    for prompt, written in zip(posterior.likelihood.prompts(PROMPTS, posterior.tokenizer), found.tokens, strict=True):
        assert greedy(merged, prompt, 6) == written
    assert not found.mutual_information.any()


@each_network
def test_each_draw_writes_what_it_would_alone(posterior):
    found = posterior.generate(list(PROMPTS), draws=DRAWS, max_new_tokens=6, mode="per_draw", seed=5)
    assert (found.prompt.tolist(), found.draw.tolist()) == ([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], [0, 1, 2] * 4)
    assert found.mutual_information is None
    prompts = posterior.likelihood.prompts(PROMPTS, posterior.tokenizer)
    for i, written in enumerate(found.tokens):
        prompt, d = prompts[int(found.prompt[i])], int(found.draw[i])
        with posterior.using(d, seed=5) as model:
            assert greedy(model, prompt, 6) == written
        by_draw = laws(posterior, prompt, written, DRAWS, seed=5)[d]
        own = by_draw.gather(-1, torch.tensor(written)[:, None]).sum()
        torch.testing.assert_close(found.log_probs[i], own, atol=1e-4, rtol=1e-4)


def test_seeds_decide_draws_and_samples(posterior):
    options = {"draws": DRAWS, "max_new_tokens": 8, "do_sample": True, "num_return_sequences": 3}
    first, again, other = (posterior.generate(list(PROMPTS), seed=seed, **options) for seed in (1, 1, 2))
    assert first.tokens == again.tokens
    assert first.tokens != other.tokens
    assert len({tuple(row) for row in first.tokens[:3]}) > 1, "the samples of one prompt differ"
    state = torch.get_rng_state()
    posterior.generate("the cat", **options)
    assert torch.equal(torch.get_rng_state(), state)


def test_pieces_hold_back_half_a_character():
    class Bytes:
        def decode(self, tokens):
            return bytes(tokens).decode(errors="replace")

    assert pieces_of(list("aé<".encode()), Bytes()) == ("a", "", "é", "<")


def test_layers_that_get_tokens_in_one_list_have_draws_side_by_side(llama, tokenizer, pairs):
    """The order of the list says which token is whose, so that draws are folded as elsewhere."""
    mlp = llama.model.layers[0].mlp
    mlp.forward = lambda x: type(mlp).forward(mlp, x.flatten(0, 1)).unflatten(0, x.shape[:2])
    method = bayespeft.methods()["melora"].replace(name="batch", guide=MeanField(noise="batch"))
    posterior = fitted(llama, tokenizer, pairs, method, targets=["model.layers.0.mlp.gate_proj"])
    expected = posterior.generate(list(PROMPTS), draws=3, max_new_tokens=4, draws_per_pass=1)
    for options in ({}, {"draws_per_pass": 3}):
        found = posterior.generate(list(PROMPTS), draws=3, max_new_tokens=4, **options)
        assert torch.equal(found.sequences, expected.sequences)
        torch.testing.assert_close(found.draw_log_probs, expected.draw_log_probs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["mle", "ensemble", "blob_official", "laplace_lora"])
def test_other_posteriors_write_too(method, llama, tokenizer, pairs):
    if method == "laplace_lora":
        with pytest.raises(ConfigError, match="language_modelling' can't"):  # before it is trained in vain
            fitted(llama, tokenizer, pairs, method)
        posterior = fitted(llama, tokenizer, pairs, bayespeft.methods()[method].replace(prediction="sampled"))
    else:
        posterior = fitted(llama, tokenizer, pairs, method)
    found = posterior.generate(list(PROMPTS), draws=8, max_new_tokens=3)
    assert found.draws == {"mle": 0, "ensemble": 5}.get(method, 8)
    if method == "mle":
        assert not found.mutual_information.any()
        own = posterior.generate(list(PROMPTS), mode="per_draw", max_new_tokens=3)
        assert own.tokens == found.tokens
        assert torch.equal(own.lexical_agreement(), torch.ones(4))
    else:
        assert found.mutual_information.any()
    if method == "ensemble":
        with pytest.raises(ConfigError, match="no member of an ensemble"):
            posterior.generate(list(PROMPTS), draws=0, max_new_tokens=3)


def test_the_network_is_as_it_was(posterior):
    before, cache = copy.deepcopy(posterior.model.state_dict()), posterior.model.config.use_cache
    posterior.generate("the cat", draws=2, max_new_tokens=2)
    posterior.score(["the cat"], ["good"], draws=2)
    assert posterior.model.config.use_cache == cache
    assert not any(module._forward_hooks for module in posterior.model.modules())
    assert all(torch.equal(value, before[name]) for name, value in posterior.model.state_dict().items())


def test_a_classifier_has_nothing_to_say(bert, tokenizer, sentences):
    posterior = bayespeft.fit(
        bert, sentences, tokenizer=tokenizer, train=bayespeft.TrainConfig(steps=1), progress=False
    )
    for use in (lambda: posterior.generate("the cat"), lambda: posterior.score(["the"], ["cat"])):
        with pytest.raises(AttachError, match="BertForSequenceClassification has none"):
            use()
