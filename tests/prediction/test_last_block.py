"""The last block is run at the position that is read, where one alone is, and what comes out is what it was."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.data.source import source_of
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.prediction import last_block
from bayespeft.prediction.last_block import LastBlock
from bayespeft.prediction.predictor import Predictor

TOKENS, ROWS = 7, 6


def rows(lengths=(TOKENS,)):
    ids = torch.randint(4, 36, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0)).tolist()
    cut = [row[: lengths[i % len(lengths)]] for i, row in enumerate(ids)]
    return [{"input_ids": row, "attention_mask": [1] * len(row), "labels": i % 2} for i, row in enumerate(cut)]


@contextmanager
def problem(model, data, method="melora", **train):
    """A problem on a network with adapters on every layer, at values that are off their start."""
    causal = hasattr(model, "lm_head")
    chosen = choose_method(method, None, TrainConfig(batch_size=ROWS, **train))
    likelihood = LabelTokens(token_ids=(10, 11)) if causal else None
    with assemble(model, source_of(data), chosen, likelihood=likelihood, targets="all-linear") as made:
        generator = torch.Generator().manual_seed(1)
        for parameter in made.problem.joint_guide.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
        model.eval().requires_grad_(False)
        yield made.problem


@pytest.fixture(params=["bert", "llama"])
def network(request):
    return request.getfixturevalue(request.param)


def tokens_of_the_last_map(model, monkeypatch):
    """Return a list that fills with how many tokens the last layer of the last block is given; no hook, which would be seen."""
    layers = [m for name, m in model.named_modules() if name.endswith(("output.dense", "down_proj"))]
    seen, forward = [], nn.Linear.forward

    def counted(self, x):
        if self is layers[-1]:
            seen.append(x.shape[1])
        return forward(self, x)

    monkeypatch.setattr(nn.Linear, "forward", counted)
    return seen


def everywhere(patch):
    patch.setattr(LastBlock, "_plan", lambda *_: None)


def test_predictions_are_those_of_running_all_tokens(network, monkeypatch):
    with problem(network, rows()) as p:
        predictor = Predictor(p)

        def predictions():
            return predictor.run(p.examples, 3, 0), predictor.run(p.examples, 0, 0), predictor.linearised(p.examples, 0)

        with monkeypatch.context() as patch:
            everywhere(patch)
            wanted = predictions()
        predictor.run(p.examples, 1, 0)  # what may be cut is found once for each network
        with monkeypatch.context() as patch:
            seen = tokens_of_the_last_map(network, patch)
            found = predictions()
    assert set(seen) == {1}
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.log_probs, other.log_probs, atol=1e-5, rtol=0)
    assert float(wanted[0].mutual_information.max()) > 1e-3


@pytest.mark.parametrize("method", ["melora", "blob"])
def test_gradients_are_those_of_running_all_tokens(network, method, monkeypatch):
    with problem(network, rows(), method) as p:
        batch = next(p.examples.batches(ROWS))

        def gradients():
            torch.manual_seed(3)
            p.joint_guide.zero_grad()
            loss, _ = p.loss(batch, 1.0)
            loss.backward()
            return [loss.detach(), *(q.grad.clone() for q in p.joint_guide.parameters() if q.grad is not None)]

        with monkeypatch.context() as patch:
            everywhere(patch)
            wanted = gradients()
        with monkeypatch.context() as patch:
            seen = tokens_of_the_last_map(network, patch)
            found = gradients()
    assert seen[-1] == 1
    assert len(found) > 3
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max().clamp_min(1)), rtol=1e-4)


def test_what_is_found_first_draws_nothing_and_leaves_what_is_bound(bert):
    with problem(bert, rows()) as p:
        batch = next(p.examples.batches(ROWS))
        torch.manual_seed(0)
        first = p.loss(batch, 1.0)[0]
        torch.manual_seed(0)
        assert torch.equal(p.loss(batch, 1.0)[0], first)


def test_rows_with_padding_at_the_position_are_run_whole(llama, monkeypatch):
    with problem(llama, rows((TOKENS, TOKENS - 2))) as p:
        predictor = Predictor(p)
        with monkeypatch.context() as patch:
            everywhere(patch)
            wanted = predictor.run(p.examples, 3, 0)
        predictor.run(p.examples, 1, 0)
        seen = tokens_of_the_last_map(llama, monkeypatch)
        found = predictor.run(p.examples, 3, 0)
        assert set(seen) == {TOKENS}
        torch.testing.assert_close(found.log_probs, wanted.log_probs, atol=1e-5, rtol=0)
        moved = next(p.examples.batches(ROWS))
        short = replace(moved, inputs={**moved.inputs, "attention_mask": moved.inputs["attention_mask"].flip(1)})
        seen.clear()
        with LastBlock(p).at_what_is_read(short):
            p.likelihood.logits(llama, short)
        assert seen == [1], "padded on the left, the last token is every row's"


class Mean(nn.Module):
    """A classifier that reads the mean over tokens."""

    def __init__(self, bert):
        super().__init__()
        self.bert, self.head = bert.bert, nn.Linear(bert.config.hidden_size, 2)

    def forward(self, input_ids, attention_mask):
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(hidden.mean(1))


def test_where_all_tokens_are_read_all_are_run(bert, monkeypatch):
    model = Mean(bert)
    with problem(model, rows()) as p:
        seen = tokens_of_the_last_map(model, monkeypatch)
        Predictor(p).run(p.examples, 3, 0)
        assert seen[-1] == TOKENS


def test_a_head_that_reads_nothing_yet_does_not_tell_what_it_will_read(bert, monkeypatch):
    model = Mean(bert)
    nn.init.zeros_(model.head.weight)
    with problem(model, rows()) as p:
        Predictor(p).run(p.examples, 1, 0)
        nn.init.normal_(model.head.weight)
        seen = tokens_of_the_last_map(model, monkeypatch)
        Predictor(p).run(p.examples, 3, 0)
        assert seen[-1] == TOKENS


@pytest.mark.parametrize("why", ["watched", "dropout", "recomputed", "not the same"])
def test_it_is_run_whole_where_that_is_seen_or_not_proved(bert, why, monkeypatch):
    block = bert.bert.encoder.layer[-1]
    if why == "not the same":
        monkeypatch.setattr(last_block, "same_outputs", lambda *_: False)
    with problem(bert, rows()) as p:
        batch = next(p.examples.batches(ROWS))
        handle = block.intermediate.register_forward_hook(lambda *_: None) if why == "watched" else None
        block.train(why == "dropout")
        if why == "recomputed":
            monkeypatch.setitem(vars(block), "forward", block.forward)
        seen = tokens_of_the_last_map(bert, monkeypatch)
        p.loss(batch, 1.0)[0].backward()
        assert seen[-1] == TOKENS
        if handle is not None:
            handle.remove()


def test_a_fit_reads_what_it_read_before(bert, sentences, tokenizer, monkeypatch):
    options = {"tokenizer": tokenizer, "train": TrainConfig(steps=6, batch_size=5, lr=1e-2), "progress": False}
    with monkeypatch.context() as patch:
        everywhere(patch)
        wanted = bayespeft.fit(bert, sentences, "melora", **options).joint_guide.state_dict()
    found = bayespeft.fit(bert, sentences, "melora", **options).joint_guide.state_dict()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)
