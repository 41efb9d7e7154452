"""A likelihood that says three things, what it reads, its outputs and its law, and has all else from these."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical as Mixing
from torch.distributions import MixtureSameFamily
from torch.distributions import Poisson as Counts

import bayespeft
from bayespeft import Predictive, TrainConfig
from bayespeft.errors import ConfigError, DataError, FitError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.predictive.average import Cost, Rows
from bayespeft.predictive.law import LawAverage, fisher_root
from bayespeft.predictive.mixture import MixturePredictive

BRIEF: dict[str, Any] = {"targets": "all-linear", "progress": False}
pytestmark = pytest.mark.filterwarnings("ignore:the posterior of this fit can be used, but not saved")


class Plain(Likelihood):
    def encode(self, rows, tokenizer):
        raise NotImplementedError

    def logits(self, model, batch):
        return model(batch.inputs)


class Thirds(Plain):
    """One of as many classes as there are outputs."""

    def distribution(self, logits: Tensor):
        return dist.Categorical(logits=logits)


class Poisson(Plain):
    """A count; of three outputs the first is the log of its rate."""

    def distribution(self, logits: Tensor):
        return dist.Poisson(logits[..., 0].clamp(-5, 5).exp())


class Heavy(Plain):
    """Three quantities with tails so heavy that they have no mean."""

    discrete = False

    def distribution(self, logits: Tensor):
        return dist.Cauchy(logits, 1.0).to_event(1)


def test_classes_are_averaged_measured_and_linearised_as_classes_are(mlp, xy):
    train = TrainConfig(steps=10)
    for guide in ("melora", "laplace_lora"):
        own = bayespeft.fit(mlp, xy, guide, likelihood=Thirds(), train=train, **BRIEF)
        same = bayespeft.fit(mlp, xy, guide, train=train, **BRIEF)
        found, known = (posterior.predict(xy, draws=4) for posterior in (own, same))
        assert isinstance(found, Predictive)
        torch.testing.assert_close(found.log_probs, known.log_probs, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.expected_entropy, known.expected_entropy, atol=1e-5, rtol=1e-4)
    report = own.report(xy, draws=4, resamples=10, ood={"same": xy})
    assert report.accuracy.value == same.report(xy, draws=4, resamples=10).accuracy.value
    assert own.conformal(xy).sets(xy).shape == (60, 3)


def test_the_fisher_information_of_classes_is_the_hessian_of_the_softmax():
    generator = torch.Generator().manual_seed(0)
    logits, j = (torch.randn(4, 3, *more, generator=generator, dtype=torch.double) for more in ((), (2, 5)))
    root = fisher_root(Thirds().distribution, logits, j).flatten(2)
    p = logits.softmax(-1)
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    j = j.flatten(2)
    torch.testing.assert_close(root.mT @ root, j.mT @ hessian @ j)
    known = type("Known", (Plain, Categorical), {})().curvature_root(logits, None, j)
    torch.testing.assert_close(root.mT @ root, known.mT @ known)


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


def test_a_mixture_has_the_moments_and_the_density_of_a_mixture():
    rates = 3 * torch.rand(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    y = torch.arange(6)
    average = LawAverage(6, False, lambda outputs: dist.Poisson(outputs[..., 0]))
    for part in (rates[:3], rates[3:]):
        average.begin(len(part))
        for rows in torch.arange(6).chunk(2):
            average.add(part[:, rows, None], Rows(rows, y[rows]), 0)
    found = average.result(Cost(4, 4, 0.0), unit=1)
    mixture = MixtureSameFamily(Mixing(torch.ones(6, 4, dtype=torch.double)), Counts(rates.T))
    torch.testing.assert_close(found.mean, mixture.mean)
    torch.testing.assert_close(found.variance, mixture.variance)
    torch.testing.assert_close(found.log_likelihood, mixture.log_prob(y))
    p = Counts(rates).log_prob(y).exp()
    influence = (p / p.mean(0)).mean(1)
    assert found.nll_error == pytest.approx(float(influence.std() / 4**0.5))
    broken = LawAverage(1, False, lambda outputs: dist.Cauchy(outputs[..., 0], 1.0, validate_args=False))
    broken.begin(1)
    broken.add(torch.full((1, 1, 1), math.nan, dtype=torch.double), Rows(torch.tensor([0])), 0)
    with pytest.raises(FitError, match="row 0 is not a number"):
        broken.result(Cost(1, 1, 0.0))


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
