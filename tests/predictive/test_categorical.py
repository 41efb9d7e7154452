"""The one averaging function: in log space, over draws in any order, whatever made them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.errors import ConfigError, FitError
from bayespeft.predictive.base import Cost, Rows
from bayespeft.predictive.categorical import CategoricalAverage


def log_probs(draws: int, n: int, classes: int, seed: int = 0) -> torch.Tensor:
    return (
        torch.randn(draws, n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        .mul(3)
        .log_softmax(-1)
    )


def averaged(values: torch.Tensor, pieces: int = 1, labels: torch.Tensor | None = None, **options):
    average = CategoricalAverage(values.shape[1], keep=True)
    average.begin(len(values))
    for rows in torch.arange(values.shape[1]).chunk(pieces):
        average.add(values[:, rows], Rows(rows, None if labels is None else labels[rows]), 0)
    return average.result(Cost(len(values), len(values), 0.0), **options)


@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 4), st.integers(1, 4))
def test_probabilities_are_averaged_whatever_the_pieces(draws, n, classes, pieces):
    values = log_probs(draws, n, classes)
    result = averaged(values, pieces)
    torch.testing.assert_close(result.probs, values.exp().mean(0))
    torch.testing.assert_close(result.draw_log_probs, values.float())
    torch.testing.assert_close(result.expected_entropy, -(values.exp() * values).sum(-1).mean(0))


def test_tiny_probabilities_do_not_become_zero():
    values = torch.tensor([[[-900.0, 0.0]], [[-1000.0, 0.0]]], dtype=torch.double)
    assert float(averaged(values).log_probs[0, 0]) == pytest.approx(-900 - math.log(2))


def test_mean_logits_are_a_normalised_geometric_mean():
    """softmax(mean of logits), whatever constant each draw's logits carry."""
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    average = CategoricalAverage(5, keep=True)
    average.begin(3)
    average.add(logits, Rows(torch.arange(5)), 0)
    result = average.result(Cost(3, 3, 0.0))
    torch.testing.assert_close(result.of_mean_logits().probs, logits.mean(0).softmax(-1), atol=1e-6, rtol=0)
    bare = replace(result, draw_log_probs=None)
    with pytest.raises(ConfigError, match="keep_draws=True"):
        bare.of_mean_logits()


def test_rounds_of_draws_add_up():
    values = log_probs(5, 4, 3)
    labels = torch.tensor([0, 1, 2, 0])
    average = CategoricalAverage(4, keep=True)
    index = torch.arange(4)
    for part in (values[:2], values[2:]):
        average.begin(len(part))
        average.add(part, Rows(index, labels), 0)
    result = average.result(Cost(5, 5, 0.0), unit=1)
    torch.testing.assert_close(result.log_probs, averaged(values, labels=labels).log_probs)
    torch.testing.assert_close(result.draw_log_probs, values.float())
    assert torch.equal(result.labels, labels)


def test_the_error_of_the_nll_is_that_of_the_delta_method():
    values, labels = log_probs(6, 4, 3), torch.tensor([0, 1, 2, 0])
    p = values.exp().gather(-1, labels.expand(6, 4)[..., None])[..., 0]
    influence = (p / p.mean(0)).mean(1)
    assert averaged(values, labels=labels, unit=1).nll_error == pytest.approx(float(influence.std() / 6**0.5), rel=1e-5)
    pairs = influence.reshape(3, 2).mean(1)
    assert averaged(values, labels=labels, unit=2).nll_error == pytest.approx(float(pairs.std() / 3**0.5), rel=1e-5)


def test_there_is_no_error_without_labels_or_without_independent_draws():
    values, labels = log_probs(6, 4, 3), torch.tensor([0, 1, 2, 0])
    assert averaged(values, unit=1).nll_error is None
    assert averaged(values, labels=labels, unit=None).nll_error is None
    assert averaged(values[:1], labels=labels, unit=1).nll_error is None


def test_what_is_not_a_number_is_an_error_that_names_the_row():
    values = log_probs(2, 4, 3)
    values[1, 2] = math.nan
    with pytest.raises(FitError, match="row 2 is not a number"):
        averaged(values)


@pytest.mark.parametrize("draws", [5, 10, 40])
def test_mutual_information_of_few_draws_is_that_of_many(draws):
    """Probabilities ~ Dirichlet: H(mean) - E[H] is known, with psi the digamma function (Bishop 2006, section 10.2).

    20,000 examples, within 4 standard errors and a tenth of the bias that it takes away.
    """
    alpha = torch.tensor([4.0, 2.0, 2.0], dtype=torch.double)
    mean, total = alpha / alpha.sum(), alpha.sum()
    expected = float((mean * (torch.digamma(total + 1) - torch.digamma(alpha + 1))).sum())
    truth = float(-(mean * mean.log()).sum()) - expected
    torch.manual_seed(0)
    values = torch.distributions.Dirichlet(alpha).sample((draws, 20_000)).log()
    result = averaged(values, unit=1)
    raw = result.entropy - result.expected_entropy
    found, error = result.mutual_information, float(result.mutual_information.std()) / 20_000**0.5
    bias = truth - float(raw.mean())
    assert bias > 20 * error
    assert float(found.mean()) == pytest.approx(truth, abs=4 * error + bias / 10)
    torch.testing.assert_close(found, raw + result.information_bias)


def test_draws_that_depend_on_each_other_or_are_all_there_are_keep_the_plain_difference():
    values = log_probs(4, 5, 3)
    for unit in (None, 2):
        result = averaged(values, unit=unit)
        assert result.information_bias is None
        torch.testing.assert_close(result.mutual_information, (result.entropy - result.expected_entropy).clamp_min(0))
    assert averaged(values[:1], unit=1).information_bias is None
