"""What prompts begin with is read once for each draw, and nothing comes out otherwise than if each row read it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import MistralConfig, MistralForCausalLM

import bayespeft
from bayespeft import Targets, TrainConfig
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.networks.configuration import remembers_everything
from bayespeft.prediction import prefix
from bayespeft.prediction.prefix import Prefix
from bayespeft.prediction.trunk import Trunk

OPTIONS = {"train": TrainConfig(steps=5, lr=0.1, variational_lr=1.0, kl_weight=0.0), "progress": False}
TEMPLATE = "the cat is fine the dog is very very fine the cat is fine " * 2 + "{question}\n{choices}\nAnswer:"


def alone(monkeypatch, posterior, data, **options):
    """Predict with every row reading all of its prompt."""
    with monkeypatch.context() as patch:
        patch.setattr(Prefix, "logits", lambda *_: None)
        return posterior.predict(data, **options)


def tokens_read(posterior, data, **options):
    """Return how many tokens the first block read in a prediction, padding included."""
    blocks = next(m for m in posterior.model.modules() if isinstance(m, nn.ModuleList))
    seen = []
    handle = blocks[0].register_forward_hook(lambda _, args, output: seen.append(args[0].shape[0] * args[0].shape[1]))
    posterior.predict(data, **options)
    handle.remove()
    return sum(seen)


def whole(monkeypatch, posterior, data, **options):
    """Return how many tokens are read where every row reads all of its prompt."""
    with monkeypatch.context() as patch:
        patch.setattr(Prefix, "logits", lambda *_: None)
        return tokens_read(posterior, data, **options)


@pytest.mark.parametrize("network", ["llama", "gpt2"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("draws", [0, 1, 6])
def test_what_prompts_share_is_read_once_for_each_draw(
    request, monkeypatch, network, side, draws, tokenizer, questions
):
    model = request.getfixturevalue(network)
    monkeypatch.setattr(tokenizer, "padding_side", side)
    posterior = bayespeft.fit(
        model, questions, "melora", tokenizer=tokenizer, likelihood=LabelTokens(template=TEMPLATE), **OPTIONS
    )
    options = {"draws": draws, "seed": 3, "batch_size": 12}
    wanted = alone(monkeypatch, posterior, questions, **options)
    found = posterior.predict(questions, **options)
    torch.testing.assert_close(found.log_probs, wanted.log_probs, atol=1e-5, rtol=1e-5)
    if draws > 1:
        assert wanted.mutual_information.max() > 1e-4, "the draws differ"
    assert tokens_read(posterior, questions, **options) < whole(monkeypatch, posterior, questions, **options) / 2


def first_tokens_read(posterior, data, length, **options):
    """Return how often a prediction read the first token of a prompt, of the beginning `length` tokens long or whole."""
    blocks = next(m for m in posterior.model.modules() if isinstance(m, nn.ModuleList))
    seen = []
    handle = blocks[0].register_forward_hook(lambda _, args, output: seen.append(tuple(args[0].shape[:2])))
    posterior.predict(data, **options)
    handle.remove()
    return sum(rows for rows, tokens in seen if tokens >= length)


@pytest.mark.parametrize("network", ["llama", "gpt2"])
@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("draws", [0, 6])
def test_later_batches_do_not_read_what_an_earlier_one_has(
    request, monkeypatch, network, batch_size, draws, tokenizer, questions
):
    model = request.getfixturevalue(network)
    posterior = bayespeft.fit(
        model, questions, "melora", tokenizer=tokenizer, likelihood=LabelTokens(template=TEMPLATE), **OPTIONS
    )
    monkeypatch.setitem(prefix.SAVED, "cpu", 8)
    options = {"draws": draws, "seed": 3, "batch_size": batch_size}
    wanted = alone(monkeypatch, posterior, questions, **options)
    posterior.predict(questions, **options)  # the proof reads rows of its own, once for each network
    found = posterior.predict(questions, **options)
    torch.testing.assert_close(found.log_probs, wanted.log_probs, atol=1e-5, rtol=1e-5)
    # A row alone shows what it shares when the second one comes, which begins alike.
    rows = max(draws, 1) * (1 if batch_size > 1 else 2)
    assert first_tokens_read(posterior, questions, 20, **options) == rows
    monkeypatch.setattr(prefix, "KEPT", 0.0)
    again = posterior.predict(questions, **options)
    torch.testing.assert_close(again.log_probs, wanted.log_probs, atol=1e-5, rtol=1e-5)
    assert first_tokens_read(posterior, questions, 20, **options) > rows


def test_a_beginning_that_differs_is_read_anew_and_one_that_differs_late_from_there_on(
    monkeypatch, llama, tokenizer, questions
):
    template = "{question}\n{choices}\nAnswer:"
    posterior = bayespeft.fit(
        llama, questions, "melora", tokenizer=tokenizer, likelihood=LabelTokens(template=template), **OPTIONS
    )
    monkeypatch.setitem(prefix.SAVED, "cpu", 8)
    begin = "the cat is fine the dog is very very fine "
    starts = [begin * 3, begin * 3, begin + "fine fine " * 8, begin + "fine fine " * 8, "dog " * 20, "dog " * 20]
    rows = [{**row, "question": start + row["question"]} for row, start in zip(questions, starts, strict=False)]
    options = {"draws": 4, "seed": 3, "batch_size": 2}
    wanted = alone(monkeypatch, posterior, rows, **options)
    found = posterior.predict(rows, **options)
    torch.testing.assert_close(found.log_probs, wanted.log_probs, atol=1e-5, rtol=1e-5)
    assert tokens_read(posterior, rows, **options) < 0.8 * whole(monkeypatch, posterior, rows, **options)


@pytest.mark.parametrize(("template", "by_prefix"), [(TEMPLATE, True), ("{question}\n{choices}", False)])
def test_of_prompt_and_trunk_what_runs_less_is_shared(monkeypatch, llama, tokenizer, questions, template, by_prefix):
    posterior = bayespeft.fit(
        llama, questions, "melora", tokenizer=tokenizer, targets=Targets(layers=(1, 1)),
        likelihood=LabelTokens(template=template), **OPTIONS,
    )  # fmt: skip
    options = {"draws": 6, "seed": 3, "batch_size": 12}
    with monkeypatch.context() as patch:
        patch.setattr(Trunk, "logits", lambda *_: None)
        wanted = alone(monkeypatch, posterior, questions, **options)
        posterior.predict(questions, **options)  # the proof reads rows of its own, once for each network
        read_by_prefix = tokens_read(posterior, questions, **options)
    found = posterior.predict(questions, **options)
    torch.testing.assert_close(found.log_probs, wanted.log_probs, atol=1e-5, rtol=1e-5)
    assert (tokens_read(posterior, questions, **options) == read_by_prefix) == by_prefix


def test_prompts_that_share_nothing_are_read_whole(monkeypatch, llama, tokenizer, questions):
    posterior = bayespeft.fit(
        llama,
        questions,
        "melora",
        tokenizer=tokenizer,
        likelihood=LabelTokens(template="{question}\n{choices}"),
        **OPTIONS,
    )
    differing = [
        {**row, "question": f"{['the', 'cat', 'dog', 'fine', 'is', 'very'][i]} is"}
        for i, row in enumerate(questions[:6])
    ]
    assert tokens_read(posterior, differing, draws=6) == whole(monkeypatch, posterior, differing, draws=6)


def test_rows_whose_keys_and_values_have_no_room_read_all(monkeypatch, tokenizer, questions, llama):
    posterior = bayespeft.fit(
        llama, questions, "melora", tokenizer=tokenizer, likelihood=LabelTokens(template=TEMPLATE), **OPTIONS
    )
    options = {"draws": 4, "seed": 3, "batch_size": 12}
    assert tokens_read(posterior, questions, **options) < whole(monkeypatch, posterior, questions, **options)
    monkeypatch.setattr(prefix, "free_memory", lambda _: 10_000)
    found = posterior.predict(questions, **options)
    # The beginning has been read when its size shows.
    assert tokens_read(posterior, questions, **options) > whole(monkeypatch, posterior, questions, **options)
    wanted = alone(monkeypatch, posterior, questions, **options)
    assert torch.equal(found.log_probs, wanted.log_probs)


def test_a_network_whose_attention_forgets_reads_all(monkeypatch, tokenizer, questions, llama):
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, sliding_window=4, pad_token_id=0,
    )  # fmt: skip
    model = MistralForCausalLM(config)
    assert not remembers_everything(model)
    assert remembers_everything(llama)
    options = {"draws": 4, "seed": 3, "batch_size": 12}
    posterior = bayespeft.fit(
        model, questions, "melora", tokenizer=tokenizer, likelihood=LabelTokens(template=TEMPLATE), **OPTIONS
    )
    assert tokens_read(posterior, questions, **options) == whole(monkeypatch, posterior, questions, **options)


def test_a_network_that_answers_otherwise_with_a_cache_reads_all(monkeypatch, tokenizer, questions, llama):
    posterior = bayespeft.fit(
        llama, questions, "melora", tokenizer=tokenizer, likelihood=LabelTokens(template=TEMPLATE), **OPTIONS
    )
    norm = llama.model.norm

    def minds(_, args, output):
        """Scale by the tokens of the pass, as no causal network does."""
        return output * (1 + output.shape[1] / 10)

    handle = norm.register_forward_hook(minds)
    options = {"draws": 4, "seed": 3, "batch_size": 12}
    wanted = alone(monkeypatch, posterior, questions, **options)
    assert torch.equal(posterior.predict(questions, **options).log_probs, wanted.log_probs)
    handle.remove()
