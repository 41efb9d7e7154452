"""Rounds of draws over the same data: it has to stay the same."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bayespeft.adapters.core import Core
from bayespeft.data.source import source_of
from bayespeft.errors import DataError
from tests.prediction.drawn import SPEC, predictor
from tests.training.helpers import problem


class Restless(Dataset):
    """The same items, in an order that is another one whenever the data is read; no seed decides it."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self._x, self._y, self._turn = x, y, 0

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        self._turn += i == 0
        place = (i + self._turn) % len(self)
        return self._x[place], self._y[place]


def test_rounds_of_draws_meet_the_same_examples_in_a_loader_that_shuffles(mlp, xy):
    def shuffled(data):
        return DataLoader(data, 7, shuffle=True, generator=torch.Generator().manual_seed(0))

    options = {"draws": "auto", "seed": 0, "tolerance": 1e-9}
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        ordered = ready.run(p.examples, **options)
        found = ready.run(
            source_of(shuffled(TensorDataset(xy[0], torch.arange(60) % 2)), "train").examples(), draws=1, seed=0
        )
        assert found.labels.tolist() != (torch.arange(60) % 2).tolist()
        mixed = ready.run(source_of(shuffled(TensorDataset(*xy))).examples(), **options)
        assert mixed.draws == ordered.draws == 256
        # One function for all of the data: what it says of the data does not depend on the order.
        torch.testing.assert_close(mixed.log_likelihood.mean(), ordered.log_likelihood.mean())
        torch.testing.assert_close(mixed.probs.sort(0).values, ordered.probs.sort(0).values, atol=1e-6, rtol=1e-5)


def test_rounds_of_draws_over_data_that_does_not_stay_are_refused(mlp, xy):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        ready.run(source_of(Restless(*xy)).examples(), draws=16, seed=0)  # one pass needs no second
        with pytest.raises(DataError, match="batch 0 of the data is another one when it is read again"):
            ready.run(source_of(Restless(*xy)).examples(), draws="auto", seed=0, tolerance=1e-9)
