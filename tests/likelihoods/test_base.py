"""What a likelihood has that says three things: averages, measures and linearised predictions as the house's own."""

from __future__ import annotations

import pytest
import torch

import bayespeft
from bayespeft import Predictive, TrainConfig
from tests.predictive.laws import BRIEF, Thirds

pytestmark = pytest.mark.filterwarnings("ignore:the posterior of this fit can be used, but not saved")


def test_classes_are_averaged_measured_and_linearised_as_classes_are(mlp, xy):
    train = TrainConfig(steps=10)
    for guide in ("melora", "laplace_lora"):
        own = bayespeft.fit(mlp, xy, guide, likelihood=Thirds(), train=train, **BRIEF)
        same = bayespeft.fit(mlp, xy, guide, train=train, **BRIEF)
        found, known = (posterior.predict(xy, draws=4) for posterior in (own, same))
        assert isinstance(found, Predictive)
        # Of a softmax of its own the package does not know that differences of logits say all, and draws the logits instead.
        error = 1e-5 if guide == "melora" else 0.02
        torch.testing.assert_close(found.log_probs, known.log_probs, atol=error, rtol=1e-4)
        torch.testing.assert_close(found.expected_entropy, known.expected_entropy, atol=error, rtol=1e-4)
    report = own.report(xy, draws=4, resamples=10, ood={"same": xy})
    assert report.accuracy.value == same.report(xy, draws=4, resamples=10).accuracy.value
    assert own.conformal(xy).sets(xy).shape == (60, 3)
