"""Writing: averaged laws against explicit averages without a cache, padding, seeds, stops, transformers' greedy search."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import bayespeft
from bayespeft.errors import AttachError, ConfigError, DataError
from bayespeft.generation.choice import Choice
from bayespeft.generation.generate import pieces_of
from bayespeft.generation.settings import Decoding
from bayespeft.guides.mean_field import MeanField
from bayespeft.likelihoods.language_modelling import LanguageModelling
from tests.generation.conftest import NETWORKS, PROMPTS, fitted

each_network = pytest.mark.parametrize("posterior", NETWORKS, indirect=True)
DRAWS = 3


def laws(posterior, prompt: list[int], written: list[int], draws: int, seed: int = 0) -> torch.Tensor:
    """Next-token log-probabilities (draws, tokens, vocabulary) along a text: one plain pass a draw, alone, without a cache."""
    ids, found = torch.tensor([prompt]), []
    for d in range(draws):
        with posterior.using(d, seed) as model:
            if model.config.is_encoder_decoder:
                before = torch.tensor([[model.config.decoder_start_token_id, *written[:-1]]])
                logits = model(input_ids=ids, decoder_input_ids=before, use_cache=False).logits[0]
            else:
                whole = torch.tensor([[*prompt, *written[:-1]]])
                logits = model(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 :]
            found.append(torch.log_softmax(logits.double(), -1))
    return torch.stack(found)


def entropy(probs: torch.Tensor) -> torch.Tensor:
    return -(probs * probs.log()).sum(-1)


@each_network
def test_averaged_probabilities_are_the_explicit_averages(posterior):
    found = posterior.generate(list(PROMPTS), draws=DRAWS, max_new_tokens=6)
    prompts = posterior.likelihood.prompts(PROMPTS, posterior.tokenizer)
    for i, written in enumerate(found.tokens):
        by_draw = laws(posterior, prompts[i], written, DRAWS)
        probs = by_draw.exp().mean(0)
        assert (by_draw.exp().std(0) > 1e-3).any(), "the draws must differ for this to say anything"
        assert probs.argmax(-1).tolist() == written
        n, tokens = len(written), torch.tensor(written)
        close = {"atol": 2e-5, "rtol": 2e-4, "check_dtype": False}
        own = probs.gather(-1, tokens[:, None])[:, 0]
        torch.testing.assert_close(found.token_probs[i, :n], own, **close)
        torch.testing.assert_close(found.entropy[i, :n], entropy(probs), **close)
        information = entropy(probs) - entropy(by_draw.exp()).mean(0)
        information += (by_draw.exp().var(0) / probs).sum(-1) / (2 * DRAWS)
        torch.testing.assert_close(found.mutual_information[i, :n], information, **close)
        torch.testing.assert_close(found.sequence_mutual_information[i], information.sum(), **close)
        whole = by_draw.gather(-1, tokens.expand(DRAWS, n)[..., None])[..., 0].sum(1)
        torch.testing.assert_close(found.draw_log_probs[:, i], whole, **close)
        torch.testing.assert_close(found.log_probs[i], whole.exp().mean().log(), **close)
        torch.testing.assert_close(found.normalised_log_probs[i], whole.exp().mean().log() / n, **close)
        for name in ("token_log_probs", "entropy", "mutual_information"):
            assert not getattr(found, name)[i, n:].any(), "nothing is said behind the end"


@each_network
@pytest.mark.parametrize("mode", ["averaged", "per_draw"])
def test_a_text_does_not_depend_on_its_neighbours(posterior, mode):
    options = {"draws": DRAWS, "max_new_tokens": 6, "mode": mode}
    together = posterior.generate(list(PROMPTS), **options)
    own = DRAWS if mode == "per_draw" else 1
    for i, prompt in enumerate(PROMPTS):
        alone = posterior.generate(prompt, **options)
        rows = slice(i * own, (i + 1) * own)
        assert alone.tokens == together.tokens[rows]
        assert alone.texts == together.texts[rows]
        torch.testing.assert_close(alone.log_probs, together.log_probs[rows], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "options", [{"batch_size": 1}, {"batch_size": 3}, {"draws_per_pass": 1}, {"draws_per_pass": 2}]
)
@pytest.mark.parametrize("sampled", [{}, {"do_sample": True, "num_return_sequences": 2}])
@pytest.mark.parametrize("mode", ["averaged", "per_draw"])
def test_how_the_work_is_cut_changes_nothing(posterior, options, sampled, mode):
    common = {"draws": DRAWS, "max_new_tokens": 5, "mode": mode, **sampled}
    whole, cut = (posterior.generate(list(PROMPTS), **common, **more) for more in ({}, options))
    assert whole.tokens == cut.tokens
    assert torch.equal(whole.prompt, cut.prompt)
    torch.testing.assert_close(whole.draw_log_probs, cut.draw_log_probs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole.entropy, cut.entropy, atol=1e-4, rtol=1e-4)


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


def test_samples_follow_the_law_after_temperature_and_truncation():
    law = torch.log_softmax(torch.tensor([2.0, 1.5, 1.0, 0.0, -1.0, -torch.inf]), -1)
    settings = Decoding(do_sample=True, temperature=0.7, top_k=4, top_p=0.9, max_new_tokens=1)
    n = 20_000
    tokens = Choice(settings, torch.arange(n), torch.device("cpu"))(law.expand(n, -1), 0)
    hot = torch.softmax(law / 0.7, -1)
    kept = torch.where(torch.arange(6) < 4, hot, 0)
    kept = kept / kept.sum()
    kept = torch.where(kept.cumsum(0) - kept < 0.9, kept, 0)  # descending already
    expected = kept / kept.sum()
    share = torch.bincount(tokens, minlength=6) / n
    assert ((share - expected).abs() <= 4 * (expected * (1 - expected) / n).sqrt()).all()
    least = Decoding(do_sample=True, min_p=0.5, max_new_tokens=1)
    assert set(Choice(least, torch.arange(n), torch.device("cpu"))(law.expand(n, -1), 0).tolist()) == {0, 1}


def test_a_text_ends_at_an_end_token_and_is_padded_behind(posterior):
    found = posterior.generate(list(PROMPTS) * 4, draws=2, max_new_tokens=20, do_sample=True)
    assert found.ended.any()
    for row, length, ended in zip(found.sequences, found.lengths.tolist(), found.ended, strict=True):
        assert (row[: length - 1] != 3).all()
        assert bool(row[length - 1] == 3) == bool(ended)
        assert (row[length:] == 0).all()
        assert ended or length == 20
    assert all("[SEP]" not in text for text in found.texts)


def test_a_stop_string_ends_a_text_before_it(posterior):
    free = posterior.generate(PROMPTS[2], draws=2, max_new_tokens=8, do_sample=True, seed=3)
    words = free.texts[0].split()
    word = next(w for i, w in enumerate(words[1:], 1) if w not in words[:i])
    stopped = posterior.generate(PROMPTS[2], draws=2, max_new_tokens=8, do_sample=True, seed=3, stop=word)
    assert stopped.texts[0] == free.texts[0].split(word)[0]
    assert stopped.texts[0].split() == words[: words.index(word)]
    assert int(stopped.lengths[0]) < int(free.lengths[0])
    assert posterior.tokenizer.decode(stopped.tokens[0]).endswith(word), "its token stays in the sequence"


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


def test_padding_is_not_read(posterior):
    table = torch.tensor([[0, 0, 5], [4, 5, 6]])
    for prompts in (table, table.numpy(), table.flip(1), table.tolist(), {"input_ids": table}):
        with pytest.raises(DataError, match="begins or ends with a padding token"):
            posterior.generate(prompts, max_new_tokens=2)
        with pytest.raises(DataError, match="begins or ends with a padding token"):
            posterior.score(prompts, ["good", "good"])
    found = posterior.generate({"input_ids": table, "attention_mask": table != 0}, draws=0, max_new_tokens=3)
    assert found.tokens == posterior.generate([[5], [4, 5, 6]], draws=0, max_new_tokens=3).tokens


def test_the_template_of_the_likelihood_is_written_around_a_prompt(llama, tokenizer, pairs):
    plain = bayespeft.fit(
        llama, pairs, "mle", likelihood=LanguageModelling(template="Question : {source} Answer "), tokenizer=tokenizer,
        train=bayespeft.TrainConfig(steps=1), progress=False,
    )  # fmt: skip
    found = plain.generate("the cat", draws=0, max_new_tokens=2)
    assert found.prompts == ("Question : the cat Answer",)


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


def test_label_tokens_posteriors_write_after_prompts_as_they_are(llama, tokenizer, questions):
    posterior = bayespeft.fit(
        llama, questions, tokenizer=tokenizer, train=bayespeft.TrainConfig(steps=1), progress=False
    )
    found = posterior.generate("the cat is", draws=2, max_new_tokens=2)
    assert found.prompts == ("the cat is",)


def test_the_network_is_as_it_was(posterior):
    before, cache = copy.deepcopy(posterior.model.state_dict()), posterior.model.config.use_cache
    posterior.generate("the cat", draws=2, max_new_tokens=2)
    posterior.score(["the cat"], ["good"], draws=2)
    assert posterior.model.config.use_cache == cache
    assert not any(module._forward_hooks for module in posterior.model.modules())
    assert all(torch.equal(value, before[name]) for name, value in posterior.model.state_dict().items())


def test_pieces_hold_back_half_a_character():
    class Bytes:
        def decode(self, tokens):
            return bytes(tokens).decode(errors="replace")

    assert pieces_of(list("aé<".encode()), Bytes()) == ("a", "", "é", "<")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": 0.5}, "temperature=0.5 changes nothing without do_sample=True"),
        ({"top_p": 0.0, "do_sample": True}, "top_p"),
        ({"num_return_sequences": 2}, "num_return_sequences=2 changes nothing without"),
        ({"mode": "mean"}, "mode"),
        ({"draws": -1}, "draws=-1"),
        ({"draws": "auto"}, "draws='auto' must be a whole number"),
        ({"stop": ""}, "stop has an empty string"),
        ({"stop": 5}, "stop"),
        ({"min_p": 0.1}, "min_p=0.1 changes nothing without do_sample=True"),
        ({"min_p": 1.5, "do_sample": True}, "min_p"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens=9 is more than max_new_tokens=8"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size"),
        ({"eos_token_id": 64}, r"eos_token_id=\(64,\): the network knows 0..63"),
        ({"num_beams": 4}, "a beam is a search for the most probable text of one network.*Options: draws, mode"),
        ({"stop_strings": ["x"]}, "no option 'stop_strings': pass stop"),
        ({"logits_processor": []}, "no option 'logits_processor'"),
        ({"nonsense": 1}, "no option 'nonsense'. Options: draws, mode, max_new_tokens"),
    ],
)
def test_settings_that_cannot_be_used(posterior, options, message):
    with pytest.raises(ConfigError, match=message):
        posterior.generate("the cat", **options)


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
        ([[5] * 60], "prompt 0 has 60 tokens, and max_new_tokens=64, but the network knows 64 positions"),
    ],
)
def test_prompts_that_cannot_be_used(posterior, prompts, message):
    with pytest.raises(DataError, match=message):
        posterior.generate(prompts)


def test_layers_that_get_tokens_in_one_list_have_a_draw_at_a_time(llama, tokenizer, pairs):
    """As experts do; nobody has to choose `draws_per_pass` for them."""
    mlp = llama.model.layers[0].mlp
    mlp.forward = lambda x: type(mlp).forward(mlp, x.flatten(0, 1)).unflatten(0, x.shape[:2])
    method = bayespeft.methods()["melora"].replace(name="batch", guide=MeanField(noise="batch"))
    posterior = fitted(llama, tokenizer, pairs, method, targets=["model.layers.0.mlp.gate_proj"])
    expected = posterior.generate(list(PROMPTS), draws=3, max_new_tokens=4, draws_per_pass=1)
    found = posterior.generate(list(PROMPTS), draws=3, max_new_tokens=4)
    assert torch.equal(found.sequences, expected.sequences)
    assert torch.equal(found.draw_log_probs, expected.draw_log_probs)
    with pytest.raises(AttachError, match="draws_per_pass= was given, leave that out"):
        posterior.generate(list(PROMPTS), draws=3, max_new_tokens=4, draws_per_pass=3)


def test_text_without_a_tokenizer(posterior):
    bare = replace(posterior, tokenizer=None)
    for prompts, options in (("the cat", {}), ([[5]], {"stop": "x"})):
        with pytest.raises(DataError, match="tokenizer"):
            bare.generate(prompts, max_new_tokens=2, **options)
    found = bare.generate([[2, 5, 6]], draws=2, max_new_tokens=3)
    assert (found.texts, found.pieces, found.prompts) == (None, None, None)


def test_a_classifier_has_nothing_to_say(bert, tokenizer, sentences):
    posterior = bayespeft.fit(
        bert, sentences, tokenizer=tokenizer, train=bayespeft.TrainConfig(steps=1), progress=False
    )
    for use in (lambda: posterior.generate("the cat"), lambda: posterior.score(["the"], ["cat"])):
        with pytest.raises(AttachError, match="BertForSequenceClassification has none"):
            use()
