"""Mixtures of normals from draws, and one normal from a Gaussian over outputs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from bayespeft.errors import ConfigError, FitError
from bayespeft.predictive.average import Cost, Rows
from bayespeft.predictive.normal import NormalAverage, NormalGaussianAverage


def outputs(draws: int, n: int, d: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    f = torch.randn(draws, n, d, generator=generator, dtype=torch.double)
    return f, torch.randn(n, d, generator=generator)


def mixed(f, labels=None, chunks=1, pieces=1, noise=0.7, keep=True, unit=None):
    average = NormalAverage(f.shape[1], keep, noise)
    average.begin(len(f))
    for rows in torch.arange(f.shape[1]).chunk(pieces):
        first = 0
        for part in f[:, rows].chunk(chunks):
            average.add(part, Rows(rows, None if labels is None else labels[rows]), first)
            first += len(part)
    return average.result(Cost(len(f), len(f), 0.0), unit)


@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_it_is_the_explicit_mixture_whatever_the_pieces(draws, n, d, chunks, pieces):
    f, y = outputs(draws, n, d)
    found = mixed(f, y, chunks, pieces)
    components = Independent(Normal(f.movedim(0, 1), torch.tensor(0.7).double()), 1)
    law = MixtureSameFamily(Categorical(torch.ones(n, draws).double()), components)
    torch.testing.assert_close(found.mean, law.mean)
    torch.testing.assert_close(found.variance, law.variance)
    torch.testing.assert_close(found.log_likelihood, law.log_prob(y.double()))
    torch.testing.assert_close(found.draw_means, f.float())
    assert found.aleatoric == pytest.approx(0.49)
    means, stds = found.components()
    assert means.shape == (draws, n, d)
    assert stds.shape == (1, n, d)
    assert float(stds.min()) == float(stds.max()) == 0.7


def test_a_large_mean_costs_no_digits_and_a_far_target_no_underflow():
    f, y = outputs(8, 5, 1)
    near, far = mixed(f, y, chunks=3), mixed(f + 1e7, y, chunks=3)
    torch.testing.assert_close(far.epistemic, near.epistemic, rtol=1e-6, atol=0)
    assert torch.isfinite(far.log_likelihood).all()
    assert (far.log_likelihood < -1e13).all()


def test_without_labels_or_kept_draws():
    f, _ = outputs(3, 4, 2)
    found = mixed(f, keep=False)
    assert found.log_likelihood is None
    assert found.nll_error is None
    with pytest.raises(ConfigError, match=r"3 draws.*keep_draws=True"):
        found.components()
    one = mixed(f[:1], keep=False)
    torch.testing.assert_close(one.components()[0], f[:1])


def test_the_error_of_the_nll_is_that_of_the_delta_method():
    f, y = outputs(6, 4, 2)
    p = Normal(f, 0.7).log_prob(y.double()).sum(-1).exp()
    influence = (p / p.mean(0)).mean(1)
    assert mixed(f, y, unit=1).nll_error == pytest.approx(float(influence.std() / 6**0.5))
    assert mixed(f, y).nll_error is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_a_number_is_an_error_that_names_the_row(wrong):
    f, y = outputs(2, 4, 1)
    f[1, 2] = wrong
    with pytest.raises(FitError, match="row 2 is not a number"):
        mixed(f, y)


@pytest.mark.parametrize("where", ["mean", "covariance"])
def test_one_output_that_is_not_a_number_is_enough(where):
    mean, covariance = torch.zeros(3, 2, dtype=torch.double), torch.eye(2, dtype=torch.double).repeat(3, 1, 1)
    (mean[1] if where == "mean" else covariance[1].diagonal())[0] = math.nan
    average = NormalGaussianAverage(3, 0.5)
    average.add(mean, covariance, Rows(torch.arange(3)))
    with pytest.raises(FitError, match="row 1 is not a number"):
        average.result(2, 0.0, None)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_gaussian_over_outputs_is_one_normal_in_closed_form(rank):
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(5, 3, rank, generator=generator, dtype=torch.double)
    mean, y = torch.randn(5, 3, generator=generator, dtype=torch.double), torch.randn(5, 3, generator=generator)
    covariance = root @ root.mT
    average = NormalGaussianAverage(5, 0.4)
    for rows in torch.arange(5).chunk(2):
        average.add(mean[rows], covariance[rows], Rows(rows, y[rows]))
    found = average.result(3, 0.0, None)
    law = MultivariateNormal(mean, covariance + 0.16 * torch.eye(3))
    torch.testing.assert_close(found.log_likelihood, law.log_prob(y.double()))
    torch.testing.assert_close(found.variance, law.variance)
    assert (found.draws, found.forward_passes, found.backward_passes, found.draw_means) == (0, 1, 3, None)
    torch.testing.assert_close(found.components()[1][0], law.variance.sqrt())


def test_a_closed_form_is_as_long_as_likely_and_as_uncertain_as_it_is():
    generator = torch.Generator().manual_seed(2)
    mean, labels = torch.randn(2, 4, 3, generator=generator, dtype=torch.double)
    root = torch.randn(4, 3, 3, generator=generator, dtype=torch.double)
    covariance = root @ root.mT
    average = NormalGaussianAverage(4, 0.5)
    average.add(mean, covariance, Rows(torch.arange(4), labels))
    found = average.result(3, 0.0, None)
    assert len(found) == 4
    law = MultivariateNormal(mean, covariance + 0.25 * torch.eye(3))
    torch.testing.assert_close(found.log_likelihood, law.log_prob(labels))
    spread = float(covariance.diagonal(dim1=-2, dim2=-1).mean()) ** 0.5
    assert found.report().epistemic == pytest.approx(spread)
