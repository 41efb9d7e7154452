"""The noise of a regression by what the posterior predicts, in closed form where there is one."""

from __future__ import annotations

import math

import pytest
import torch

from bayespeft.likelihoods.regression import Regression
from bayespeft.predictive.average import Cost, Rows
from bayespeft.predictive.normal import log_likelihood
from bayespeft.training.noise import at_best_noise, at_own_noise, beside_spread, log_likelihood_under


def test_the_best_noise_is_the_root_of_the_mean_square_of_one_draw_and_the_least_nll_of_several():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randn(50, 2, generator=generator)
    average = Regression(spread=1.0, center=(0.0, 0.0)).average(50, True)
    average.begin(1)
    means = torch.randn(3, 50, 2, generator=generator).double()
    average.add(means[:1], Rows(torch.arange(50), labels), 0)
    one = at_best_noise(average.result(Cost(1, 1, 0.0)))
    square = float((means[0] - labels).square().mean())
    assert one.noise == pytest.approx(square**0.5, rel=1e-3)
    law = Regression(spread=1.0, center=(0.0, 0.0))
    under = -float(log_likelihood(means[0], 1.0, labels).mean())
    assert at_own_noise(under, law) == pytest.approx(-float(one.log_likelihood.mean()), rel=1e-4)
    several = Regression(spread=1.0, center=(0.0, 0.0)).average(50, True)
    several.begin(3)
    several.add(means, Rows(torch.arange(50), labels), 0)
    found = at_best_noise(several.result(Cost(3, 3, 0.0)))
    for noise in (0.97 * found.noise, 1.03 * found.noise):
        other = torch.logsumexp(log_likelihood(means, noise, labels), 0) - math.log(3)
        assert float(other.mean()) < float(found.log_likelihood.mean())


@pytest.mark.parametrize("share", [0.0, 0.3, 2.0])
def test_what_a_posterior_spreads_is_taken_off_the_whole_error(share):
    # A spread that is a share of the noise, as that of Laplace is under a flat prior: noise^2 (1 + share) = whole^2.
    noise = beside_spread(0.7, lambda noise: share * noise**2)
    assert noise == pytest.approx(0.7 / (1 + share) ** 0.5, rel=0.01)
    assert beside_spread(0.7, lambda noise: 5.0) == pytest.approx(1e-3 * 0.7), "more than there is"


def test_the_log_likelihood_under_another_noise_is_that_of_the_normal_law():
    generator = torch.Generator().manual_seed(0)
    means, labels = torch.randn(7, 2, generator=generator).double(), torch.randn(7, 2, generator=generator)
    before, after = (float(log_likelihood(means, noise, labels).sum()) for noise in (0.4, 1.3))
    assert log_likelihood_under(1.3, 0.4, before, 14) == pytest.approx(after, rel=1e-9)
