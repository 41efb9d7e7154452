"""Predictions of any law: the mixture over draws, and what it says where a law has no mean."""

from __future__ import annotations

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError, DataError
from bayespeft.predictive.mixture import MixturePredictive
from tests.predictive.laws import BRIEF, Heavy, Poisson

pytestmark = pytest.mark.filterwarnings("ignore:the posterior of this fit can be used, but not saved")


def test_a_count_is_the_mixture_of_its_laws(mlp, xy):
    x, y = xy
    posterior = bayespeft.fit(mlp, (x, y), likelihood=Poisson(), train=TrainConfig(most_steps=40), **BRIEF)
    found = posterior.predict((x, y), draws=5, keep_draws=True)
    assert isinstance(found, MixturePredictive)
    assert bool((found.epistemic > 0).all())
    torch.testing.assert_close(found.mean, found.aleatoric)  # of a Poisson law
    report = posterior.report((x, y), draws=5, resamples=20)
    assert report.nll.value == pytest.approx(-float(found.log_likelihood.mean()))
    assert report.rmse.value == pytest.approx(float((found.mean - y).square().mean().sqrt()))
    assert str(report).startswith(report.method) or "NLL" in str(report)
    assert "RMSE" in report.to_html()
    assert type(report).from_json(report.to_json()) == report
    with pytest.raises(ConfigError, match="temperature divides logits"):
        posterior.with_temperature((x, y))
    with pytest.raises(ConfigError, match="does not say its curvature"):
        bayespeft.fit(mlp, (x, y), "laplace_lora", likelihood=Poisson(), train=TrainConfig(steps=1), **BRIEF)
    with pytest.raises(DataError, match=r"row 1 has the label -2, which .*gives no probability"):
        posterior.predict((x[:2], torch.tensor([1, -2])))


def test_a_law_without_a_mean_says_so(mlp, xy):
    x, _ = xy
    y = torch.stack([x[:, 0], x[:, 1], x[:, 2]], 1)
    posterior = bayespeft.fit(mlp, (x, y), likelihood=Heavy(), train=TrainConfig(steps=5), **BRIEF)
    assert bool(posterior.predict((x, y), draws=3).mean.isnan().all())
    report = posterior.report((x, y), draws=3, resamples=10)
    assert report.rmse is None
    assert report.outputs == 3
    with pytest.raises(DataError, match=r"shape \(60,\), and .* needs \(60, 3\)"):
        posterior.predict((x, y[:, 0]))
