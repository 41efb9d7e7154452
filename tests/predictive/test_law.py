"""A likelihood that says three things, what it reads, its outputs and its law, and has all else from these."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import Categorical as Mixing
from torch.distributions import MixtureSameFamily
from torch.distributions import Poisson as Counts

from bayespeft.errors import FitError
from bayespeft.predictive.average import Cost, Rows
from bayespeft.predictive.law import LawAverage

pytestmark = pytest.mark.filterwarnings("ignore:the posterior of this fit can be used, but not saved")


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
