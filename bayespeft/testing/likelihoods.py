"""What every likelihood owes the house."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.prediction.sampling import Replicates


class LikelihoodContract:
    """Tests of one likelihood.

    Attributes:
        likelihood: with the settings that are tested.
        outputs: K, of the network.
    """

    likelihood: Likelihood
    outputs: int = 3

    @pytest.fixture
    def subject(self) -> Likelihood:
        """The likelihood that is tested."""
        return self.likelihood

    def some_outputs(self) -> Tensor:
        """Outputs (n, K) of a network."""
        return torch.randn(6, self.outputs, generator=torch.Generator().manual_seed(0))

    def test_json_round_trip(self, subject: Likelihood) -> None:
        """Settings are read as they were written, by the registered name."""
        assert Likelihood.model_validate(json.loads(subject.model_dump_json())) == subject

    def test_law_has_one_label_for_each_example(self, subject: Likelihood) -> None:
        """Pyro's plate over examples takes the law's batch for the examples."""
        assert subject.distribution(self.some_outputs()).batch_shape == (6,)

    def test_says_whether_it_can_be_linearised(self, subject: Likelihood) -> None:
        """What `fit` promises before training is what prediction can keep."""
        try:
            subject.gaussian_average(2, False, Replicates(seed=0, draws=1))
        except ConfigError:
            assert not subject.linearises
        else:
            assert subject.linearises

    def test_says_whether_differences_of_outputs_say_all(self, subject: Likelihood) -> None:
        """A linearised prediction then differentiates these alone, so that one which is no softmax must say so."""
        if not subject.by_differences:
            return
        outputs = self.some_outputs()
        if subject.distribution(outputs).event_shape:  # an example has outputs at several positions
            outputs = outputs.unsqueeze(1).repeat(1, 4, 1)
        added = torch.linspace(-2, 2, len(outputs)).reshape(-1, *[1] * (outputs.dim() - 1))
        law, moved = subject.distribution(outputs), subject.distribution(outputs + added)
        for label in range(self.outputs):
            labels = torch.full((*law.batch_shape, *law.event_shape), label)
            torch.testing.assert_close(moved.log_prob(labels), law.log_prob(labels))
