"""Several labels an example, each averaged by itself: whatever the batches, with labels that are not there."""

from __future__ import annotations

import math

import pytest
import torch

from bayespeft.errors import FitError
from bayespeft.networks.tokens import IGNORED
from bayespeft.predictive.average import Average, Cost, Rows
from bayespeft.predictive.base import Prediction
from bayespeft.predictive.several import SeveralAverage, SeveralPredictive

N, T, K, S = 6, 5, 3, 4
SIZES = torch.tensor([5, 2, 0, 3, 1, 4])


class Made(SeveralPredictive):
    def report(self, details=None, **facts):
        raise NotImplementedError


class Averaged(SeveralAverage):
    def result(self, cost: Cost, unit: int | None = None) -> Prediction:
        each, sizes = self.several(cost, unit)
        return Made(each=each, sizes=sizes, **self._stated(cost, unit))


def values() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(S, N, T, K, generator=generator, dtype=torch.double)
    labels = torch.randint(0, K, (N, T), generator=generator)
    counted = torch.arange(T) < SIZES[:, None]
    return logits, labels.masked_fill(~counted, IGNORED), counted


def averaged(average: Average, batches, rounds=(S,), labelled: bool = True, unit: int | None = 1) -> Made:
    logits, labels, counted = values()
    start = 0
    for draws in rounds:
        average.begin(draws)
        for rows in batches:
            longest = max(int(SIZES[rows].max()), 1)
            own = labels[rows, :longest] if labelled else None
            for first in range(draws):  # a draw at a time
                outputs = logits[start + first : start + first + 1, rows, :longest]
                average.add(outputs, Rows(rows, own, counted[rows, :longest]), first)
        start += draws
    return average.result(Cost(S, S, 0.0), unit)


def test_each_label_is_averaged_by_itself_in_the_order_of_the_examples():
    logits, labels, counted = values()
    batches = [torch.tensor([3, 0]), torch.tensor([5, 2, 1]), torch.tensor([4])]
    found = averaged(Averaged(N, keep=True), batches)
    probs = logits.softmax(-1).mean(0)
    torch.testing.assert_close(found.each.probs, probs[counted])
    assert torch.equal(found.sizes, SIZES)
    assert torch.equal(found.each.labels, labels[counted])
    torch.testing.assert_close(found.each.draw_log_probs, logits.log_softmax(-1)[:, counted].float())
    own = [float(probs[i, : SIZES[i]].log().gather(1, labels[i, : SIZES[i], None]).sum()) for i in range(N)]
    assert found.log_likelihood.tolist() == pytest.approx(own)
    entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean(0)
    torch.testing.assert_close(found.each.expected_entropy, entropy[counted])
    again = averaged(Averaged(N, keep=True), [torch.arange(N)], rounds=(1, 3))
    torch.testing.assert_close(again.each.log_probs, found.each.log_probs)
    assert again.nll_error == pytest.approx(found.nll_error)


def test_the_error_of_the_nll_sums_over_the_labels_of_an_example():
    logits, labels, counted = values()
    p = logits.softmax(-1).gather(-1, labels.clamp_min(0).expand(S, N, T)[..., None])[..., 0]
    influence = ((p / p.mean(0)) * counted).sum((1, 2)) / N
    found = averaged(Averaged(N), [torch.arange(N)])
    assert found.nll_error == pytest.approx(float(influence.std() / S**0.5))
    assert averaged(Averaged(N), [torch.arange(N)], unit=None).nll_error is None


def test_a_temperature_acts_on_each_draw():
    logits, labels, counted = values()
    found = averaged(Averaged(N, keep=True), [torch.arange(N)])
    cold = (logits / 1.7).softmax(-1).mean(0).log().gather(-1, labels.clamp_min(0)[..., None])[..., 0]
    assert found.tempered_nll(1.7) == pytest.approx(-float((cold * counted).sum() / N), rel=1e-6)
    assert found.tempered_nll(1.0) == pytest.approx(-float(found.log_likelihood.mean()), rel=1e-6)


def test_labels_that_are_ignored_say_nothing():
    found = averaged(Averaged(N), [torch.arange(N)])
    known, owner = found.known()
    assert len(known) == len(owner) == int(SIZES.sum())
    some = found.each.labels.clone()
    some[::2] = IGNORED
    partly = Made(**{**vars(found), "each": type(found.each)(**{**vars(found.each), "labels": some})})
    known, owner = partly.known()
    assert len(known) == int((some != IGNORED).sum())
    assert float(partly.log_likelihood.sum()) == pytest.approx(float(known.log_likelihood.sum()))
    assert averaged(Averaged(N), [torch.arange(N)], labelled=False).log_likelihood is None


def test_a_broken_output_names_its_example():
    average = Averaged(3)
    average.begin(1)
    outputs = torch.zeros(1, 2, 2, 3, dtype=torch.double)
    average.add(outputs, Rows(torch.tensor([2, 0])), 0)
    outputs = torch.full((1, 1, 2, 3), math.nan, dtype=torch.double)
    average.add(outputs, Rows(torch.tensor([1])), 0)
    with pytest.raises(FitError, match="row 1 is not a number"):
        average.result(Cost(1, 1, 0.0))
