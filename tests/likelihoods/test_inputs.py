"""What is known of a network's inputs, from its forward, its tables and its configuration."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import bayespeft
from bayespeft.likelihoods.inputs import takes_of
from bayespeft.likelihoods.sequence_classification import SequenceClassification


class Passing(nn.Module):
    """A network in another, which passes on what it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.config = network, network.config  # type: ignore[assignment]

    def forward(self, **inputs: Any) -> Any:
        return self.network(**inputs)


def test_names_are_those_of_the_forward(bert: nn.Module, mlp: nn.Module) -> None:
    found = takes_of(bert, SequenceClassification())
    assert {"input_ids", "attention_mask", "token_type_ids", "position_ids"} <= set(found.names or ())
    assert "labels" not in (found.names or ())
    assert (found.vocabulary, found.positions, found.token_types, found.end) == (64, 64, 2, None)
    assert takes_of(Passing(bert), SequenceClassification()).names is None
    plain = takes_of(mlp.double(), SequenceClassification())
    assert (plain.dtype, plain.vocabulary, plain.positions) == (torch.float64, None, None)


def test_what_the_forward_takes_reaches_the_network(bert: nn.Module) -> None:
    """Positions in reverse are other inputs, and are padded beside the tokens."""
    rows = [{"input_ids": [5, 6, 7, 8][: 2 + k % 3], "labels": k % 2} for k in range(6)]
    turned = [row | {"position_ids": list(range(len(row["input_ids"])))[::-1]} for row in rows]  # type: ignore[arg-type]
    train = bayespeft.TrainConfig(steps=1, batch_size=4)
    posterior = bayespeft.fit(bert, turned, "mle", train=train, progress=False)
    found = posterior.predict(turned, draws=0).log_probs
    torch.testing.assert_close(posterior.predict(turned, draws=0, batch_size=1).log_probs, found, atol=1e-5, rtol=1e-4)
    assert (posterior.predict(rows, draws=0).log_probs - found).abs().max() > 1e-3
