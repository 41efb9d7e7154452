"""What all draws share is run once, and nothing comes out otherwise than if everything were run for each draw."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import Targets, TrainConfig
from bayespeft.prediction.trunk import Trunk

OPTIONS = {"train": TrainConfig(steps=5, lr=0.1, variational_lr=1.0, kl_weight=0.0), "progress": False}


def plain(monkeypatch, posterior, data, **options):
    """Predict with everything repeated at the input."""
    with monkeypatch.context() as patch:
        patch.setattr(Trunk, "logits", lambda *_: None)
        return posterior.predict(data, **options)


def runs(posterior, data, **options):
    """Return how many rows the first and the last block saw in a prediction."""
    blocks = next(m for m in posterior.model.modules() if isinstance(m, nn.ModuleList))
    seen = [0, 0]
    handles = [
        blocks[at].register_forward_hook(lambda _, args, output, at=at: seen.__setitem__(at, seen[at] + len(args[0])))
        for at in (0, -1)
    ]
    posterior.predict(data, **options)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("network", ["bert", "llama", "gpt2"])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_draws_share_what_is_below_the_first_adapted_block(request, monkeypatch, network, batch_size, tokenizer):
    model = request.getfixturevalue(network)
    data = request.getfixturevalue("sentences" if network == "bert" else "questions")
    posterior = bayespeft.fit(model, data, "melora", tokenizer=tokenizer, targets=Targets(layers=(1, 1)), **OPTIONS)
    options = {"draws": 6, "seed": 3, "batch_size": batch_size}
    wanted = plain(monkeypatch, posterior, data, **options)
    found = posterior.predict(data, **options)
    torch.testing.assert_close(found.log_probs, wanted.log_probs, atol=1e-5, rtol=1e-5)
    assert wanted.mutual_information.max() > 1e-4, "the draws differ"
    first, last = runs(posterior, data, **options)
    assert (first, last) == (len(data), 6 * len(data))


def test_a_head_alone_is_all_that_is_run_for_each_draw(bert, sentences, tokenizer, monkeypatch):
    posterior = bayespeft.fit(bert, sentences, "laplace_last_layer", tokenizer=tokenizer, **OPTIONS)
    posterior = bayespeft.fit(bert, sentences, "laplace_last_layer", tokenizer=tokenizer, start=posterior, **OPTIONS)
    options = {"draws": 6, "seed": 3, "prediction": "sampled"}
    wanted = plain(monkeypatch, posterior, sentences, **options)
    torch.testing.assert_close(posterior.predict(sentences, **options).log_probs, wanted.log_probs)


def test_adapters_in_every_block_leave_nothing_to_share(bert, sentences, tokenizer):
    posterior = bayespeft.fit(bert, sentences, "melora", tokenizer=tokenizer, **OPTIONS)
    first, last = runs(posterior, sentences, draws=6, seed=3)
    assert first == last == 6 * len(sentences)


class Block(nn.Module):
    """A block that counts the rows which it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return torch.tanh(self.linear(x)) * (1 + len(x) / 10)


class Odd(nn.Module):
    """A network whose outputs depend on how many rows it is given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(Block() for _ in range(3))
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


def test_a_network_that_minds_is_run_as_before(monkeypatch, xy):
    x, y = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    posterior = bayespeft.fit(Odd(), (x, y), "melora", targets=["layers.2.linear"], **OPTIONS)
    wanted = plain(monkeypatch, posterior, (x, y), draws=4, seed=0)
    found = posterior.predict((x, y), draws=4, seed=0)
    assert torch.equal(found.log_probs, wanted.log_probs)
