"""The probe batch finds layers that never run, don't matter, or mix examples."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bayespeft.adapters.core import Core
from bayespeft.errors import AttachError
from bayespeft.guides.mean_field import MeanField
from bayespeft.variational.probe import probe
from tests.training.helpers import problem


def run_probe(model, x, apart=True):
    with problem(model, (x, torch.zeros(len(x), dtype=torch.long)), Core(r=2), MeanField()) as p:
        batch = next(iter(p.examples.batches(4)))
        return probe(p.model, p.attachment, p.joint_guide.stacks, p.likelihood, batch, apart)


def test_a_sound_network_passes_and_tells_its_classes(mlp):
    assert run_probe(mlp, torch.randn(6, 5)) == 3


class SilentLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(5, 3), nn.Linear(3, 3)

    def forward(self, x):
        return nn.functional.linear(self.used(x), self.unused.weight)


def test_a_layer_whose_weight_is_used_directly_is_an_error():
    with pytest.raises(AttachError, match=r"'unused' never ran as a module.*targets="):
        run_probe(SilentLayer(), torch.randn(4, 5))


class Sequence(nn.Module):
    """Feeds its layer (tokens, batch, features): rows of different examples lie side by side."""

    def __init__(self, tokens_first: bool):
        super().__init__()
        self.tokens_first = tokens_first
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        hidden = self.layer(x.transpose(0, 1)).transpose(0, 1) if self.tokens_first else self.layer(x)
        return torch.tanh(hidden).sum(1)


def test_a_layer_that_mixes_examples_is_an_error():
    x = torch.randn(4, 6, 5)
    assert run_probe(Sequence(False), x) == 3
    with pytest.raises(AttachError, match=r"'layer' got an input of 6 rows in a batch of 2.*noise='batch'"):
        run_probe(Sequence(True), x)
    assert run_probe(Sequence(True), x, apart=False) == 3
    # As many tokens as rows: the shape tells nothing, the outputs do.
    with pytest.raises(AttachError, match=r"mixes examples.*batch_first=True"):
        run_probe(Sequence(True), x[:, :2])


class Unpadded(nn.Module):
    """Feeds its layer only the tokens that are not padding, as kernels for sequences of many lengths do."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        kept = x.abs().sum(-1) > 0
        hidden = x.new_zeros(*x.shape[:2], 3)
        hidden[kept] = self.layer(x[kept])
        return hidden.sum(1)


def test_a_layer_that_gets_tokens_without_their_examples_is_an_error():
    with pytest.raises(AttachError, match="got an input of 6 rows in a batch of 2"):
        run_probe(Unpadded(), torch.randn(2, 3, 5))


def test_an_output_that_is_not_finite_is_an_error(mlp):
    with torch.no_grad():
        mlp[4].bias[0] = float("inf")
    with pytest.raises(AttachError, match="output of Sequential is not finite"):
        run_probe(mlp, torch.randn(4, 5))


class Ignored(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        return self.layer(x) * 0 + x[:, :3]


def test_a_layer_that_does_not_reach_the_output_is_an_error():
    with pytest.raises(AttachError, match="does not change with the adapters"):
        run_probe(Ignored(), torch.randn(4, 5))
