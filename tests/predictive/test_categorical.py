"""The one averaging function: in log space, over draws in any order, whatever made them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.errors import ConfigError, FitError
from bayespeft.predictive.average import ALONE, Cost, Groups, Rows
from bayespeft.predictive.categorical import CategoricalAverage


def log_probs(draws: int, n: int, classes: int, seed: int = 0) -> torch.Tensor:
    return (
        torch.randn(draws, n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        .mul(3)
        .log_softmax(-1)
    )


def averaged(
    values: torch.Tensor, pieces: int = 1, labels: torch.Tensor | None = None, groups: Groups = ALONE, **options
):
    average = CategoricalAverage(values.shape[1], keep=True)
    average.begin(len(values), groups)
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


def jackknifed(values, unit, members=None):
    """E - (u - 1) x mean of (E without each unit - E): the same leading term, found by leaving units out."""
    probs = values.exp().reshape(-1, unit, *values.shape[1:]).mean(1)
    units = len(probs)

    def spread(p):
        return -torch.special.xlogy(p, p).sum(-1)

    whole = spread(probs.mean(0))
    others = torch.stack([spread(torch.cat([probs[:i], probs[i + 1 :]]).mean(0)) for i in range(units)])
    return (units - 1) * (whole - others.mean(0)) * (1 if members is None else 1 - units / members)


@pytest.mark.parametrize(("draws", "unit", "members"), [(200, 1, None), (200, 2, None), (320, 8, None), (150, 1, 200)])
def test_what_few_draws_lack_is_what_the_jackknife_finds(draws, unit, members):
    values = log_probs(draws, 5, 3).mul(0.3).log_softmax(-1)
    average = CategoricalAverage(5)
    average.begin(draws, Groups(unit, members))
    average.add(values, Rows(torch.arange(5)), 0)
    found = average.result(Cost(draws, draws, 0.0), unit if members is None else None).information_bias
    torch.testing.assert_close(found, jackknifed(values, unit, members), rtol=0.05, atol=1e-6)


@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_units_count_whole_whatever_the_pieces_that_draws_come_in(unit, rows, sizes):
    """Draws of a pass end anywhere in a unit; batches of rows come one after the other, and rounds are whole units."""
    draws = sum(sizes) // unit * unit
    values = log_probs(2 * draws, 3, 4) if draws else log_probs(2, 3, 4)
    average, whole = CategoricalAverage(3), CategoricalAverage(3)
    for part in values.chunk(2):
        average.begin(len(part), Groups(unit))
        for index in torch.arange(3).split(rows):
            first = 0
            for size in (*sizes, len(part)):
                piece = part[first : first + size, index]
                if len(piece):
                    average.add(piece, Rows(index), first)
                first += size
        whole.begin(len(part), Groups(unit))
        whole.add(part, Rows(torch.arange(3)), 0)
    cost = Cost(len(values), len(values), 0.0)
    found, expected = average.result(cost, unit), whole.result(cost, unit)
    torch.testing.assert_close(found.mutual_information, expected.mutual_information)
    torch.testing.assert_close(found.log_probs, expected.log_probs)


def test_antithetic_pairs_are_told_as_pairs():
    """Closed form: p = 1/2 + e / 4 and its mirror image, e normal and cut off, average to 1/2 whatever e."""
    e = torch.randn(6, 50, generator=torch.Generator().manual_seed(0)).double().clamp(-1.5, 1.5) / 4
    probs = torch.stack([torch.stack([0.5 + e, 0.5 - e]), torch.stack([0.5 - e, 0.5 + e])], 1).permute(2, 1, 3, 0)
    values = probs.flatten(0, 1).log()
    average = CategoricalAverage(50)
    average.begin(12, Groups(2))
    average.add(values, Rows(torch.arange(50)), 0)
    pairs = average.result(Cost(12, 12, 0.0), 2)
    assert float(pairs.information_bias.abs().max()) < 1e-12
    assert float(averaged(values, unit=1).information_bias.min()) > 1e-3
    assert not pairs.information_is_low


def test_what_cannot_be_told_is_called_a_lower_estimate():
    values = log_probs(4, 5, 3)
    one = averaged(values, unit=None)
    assert one.information_bias is None
    assert one.information_is_low
    torch.testing.assert_close(one.mutual_information, (one.entropy - one.expected_entropy).clamp_min(0))
    for draws, unit in ((4, 4), (5, 2), (2, 2)):
        average = CategoricalAverage(5)
        average.begin(draws, Groups(unit))
        average.add(log_probs(draws, 5, 3), Rows(torch.arange(5)), 0)
        found = average.result(Cost(draws, draws, 0.0), unit)
        assert (found.information_bias, found.information_is_low) == (None, True)
    single = averaged(values[:1], unit=1)
    assert (single.information_bias, single.information_is_low) == (None, False)


def test_all_members_of_an_ensemble_lack_nothing():
    values = log_probs(4, 5, 3)
    assert not averaged(values, unit=None, groups=Groups(members=4)).information_bias.any()
    assert averaged(values[:3], unit=None, groups=Groups(members=4)).information_bias.all()
    assert averaged(values, unit=None, groups=Groups(members=4)).nll_error is None
