"""Running sums over draws: groups, errors that the delta method gives, and outputs that are Gaussian."""

from __future__ import annotations

import math

import pytest
import torch

from bayespeft.errors import FitError
from bayespeft.predictive.average import (
    JITTER,
    REPLICATES,
    WIDE,
    Cost,
    DrawnGaussianAverage,
    Rows,
    refuse_broken,
    relative,
)
from bayespeft.predictive.categorical import CategoricalAverage


def test_likelihoods_relative_to_their_mean_survive_tiny_ones():
    scores = torch.tensor([[-1000.0, 0.0], [-1001.0, 0.0]], dtype=torch.double)
    expected = torch.tensor([[2 / (1 + math.exp(-1)), 1.0], [2 / (1 + math.e), 1.0]], dtype=torch.double)
    torch.testing.assert_close(relative(scores), expected)


class Ones:
    """Normals of which each replicate is one number."""

    def __init__(self, values):
        self.values, self.asked = values, []

    def of_size(self, outputs):
        self.asked.append(outputs)
        return self.values[:, None].expand(-1, outputs)


def test_gaussian_outputs_are_drawn_with_the_symmetric_root_of_a_singular_covariance():
    """Both logits move together, so that the probabilities stay what they are under the mean."""
    normals = Ones(torch.linspace(-2, 2, REPLICATES))
    average = DrawnGaussianAverage(CategoricalAverage(2), normals)
    mean = torch.tensor([[0.0, 1.0], [2.0, 0.0]], dtype=torch.double)
    for row in range(2):
        average.add(mean[row, None], torch.ones(1, 2, 2, dtype=torch.double), Rows(torch.tensor([row])))
    found = average.result(2, 1.5, None)
    torch.testing.assert_close(found.log_probs.double(), mean.log_softmax(-1))
    assert normals.asked == [2, 2]
    assert (found.draws, found.forward_passes, found.backward_passes, found.seconds) == (REPLICATES, 1, 2, 1.5)


class Unit:
    """Normals that are the directions of the outputs."""

    def of_size(self, outputs):
        return torch.eye(outputs)


class Kept:
    """Keeps what is drawn."""

    def begin(self, draws, groups):
        assert draws > 0

    def add(self, outputs, rows, first):
        self.drawn = outputs


@pytest.mark.parametrize("rank", [3, WIDE + 20])
def test_many_outputs_are_drawn_with_their_covariance_of_full_rank_or_not(rank):
    # As Jacobians give it: summed in single precision, so that what should be 0 may lie below.
    factors = torch.randn(2, WIDE + 20, rank, generator=torch.Generator().manual_seed(0))
    covariance = (factors @ factors.mT).double()
    kept = Kept()
    DrawnGaussianAverage(kept, Unit()).add(torch.zeros(2, WIDE + 20).double(), covariance, Rows(torch.arange(2)))
    root = kept.drawn.permute(1, 2, 0)
    error = (root @ root.mT - covariance).abs().amax()
    assert float(error) <= JITTER[-1] * float(covariance.diagonal(dim1=-2, dim2=-1).mean(-1).max()) + 1e-9


def test_the_error_of_a_linearised_prediction_is_that_between_its_replicates():
    values = torch.linspace(-2, 2, REPLICATES)
    average = DrawnGaussianAverage(CategoricalAverage(1), Ones(values))
    covariance = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]], dtype=torch.double)
    average.add(torch.zeros(1, 2, dtype=torch.double), covariance, Rows(torch.tensor([0]), torch.tensor([0])))
    # The root of this covariance sends (e, e) to nothing, so that all replicates agree.
    assert average.result(0, 0.0, None).nll_error == pytest.approx(0.0, abs=1e-9)


def test_labels_stand_in_the_order_of_the_data_however_rows_come():
    average = CategoricalAverage(3)
    average.begin(1)
    for rows in ([2], [0, 1]):
        index = torch.tensor(rows)
        average.add(torch.zeros(1, len(rows), 4, dtype=torch.double), Rows(index, index + 1), 0)
    assert average.result(Cost(1, 1, 0.0)).labels.tolist() == [1, 2, 3]


def test_a_broken_row_is_named_by_its_place_in_the_data():
    refuse_broken(torch.tensor([False, False]))
    with pytest.raises(FitError, match=r"row 1 is not a number \(2 such rows\)"):
        refuse_broken(torch.tensor([False, True, True]))
    with pytest.raises(FitError, match=r"row 9 is not a number \(1 such rows\)"):
        refuse_broken(torch.tensor([False, True]), torch.tensor([4, 9]))
