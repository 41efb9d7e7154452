"""The objective as a module: its parameters, its loss, where it goes, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from bayespeft.adapters.core import Core
from bayespeft.errors import ConfigError
from bayespeft.fitting.objective import Objective
from bayespeft.guides.mean_field import MeanField
from tests.training.helpers import problem


def test_what_is_trained_is_the_guide_and_the_network_is_no_part_of_it(mlp, xy):
    calls, moves = [], []

    def loss(batch, rows):
        calls.append((batch, rows))
        return sum(parameter.sum() for parameter in p.joint_guide.parameters())

    with problem(mlp, xy, Core(r=2), MeanField()) as p:
        objective = Objective(p.joint_guide, loss, moves.append)
        assert {id(q) for q in objective.parameters()} == {id(q) for q in p.joint_guide.parameters()}
        assert not {id(q) for q in objective.parameters()} & {id(q) for q in mlp.parameters()}
        objective("batch", 3.0).backward()
        assert calls == [("batch", 3.0)]
        assert all(bool((q.grad == 1).all()) for q in objective.parameters())
        objective.to("cpu")
        assert moves == [torch.device("cpu")]
        with pytest.raises(ConfigError, match="variational parameters are float32"):
            objective.half()
        assert {q.dtype for q in objective.parameters()} == {torch.float32}
        assert moves == [torch.device("cpu")], "what was refused moved nothing"
