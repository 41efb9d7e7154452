"""Steps of the optimiser: how many a run takes, and what each of them weighs."""

from __future__ import annotations

from itertools import islice

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bayespeft.adapters.lora import Lora
from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.data.order import batch_indices
from bayespeft.guides.point import Point
from bayespeft.priors.flat import Flat
from bayespeft.priors.normal import Normal
from bayespeft.training.loop import _endless
from bayespeft.training.problem import Problem
from bayespeft.training.steps import Steps
from tests.training.helpers import Direct, UnitNormal, problem


def one_batch(p: Problem, size: int):
    return next(iter(p.examples.batches(size)))


def test_gradient_does_not_depend_on_how_a_batch_is_split(mlp, xy):
    gradients = []
    for sizes in ([24], [8, 8, 8], [10, 10, 4]):
        with problem(mlp, xy, Lora(r=2), Point(), point_prior=Normal(scale=1.0)) as p:
            whole = one_batch(p, 24)
            parts, start = [], 0
            for size in sizes:
                cut = slice(start, start + size)
                parts.append(type(whole)(whole.inputs[cut], whole.labels[cut], whole.index[cut]))
                start += size
            steps = Steps(p, total=1)
            steps.backward(parts, 24 / len(sizes))
            prior, nll, rows = steps.terms()
            assert rows == 24
            gradients.append(
                torch.cat([g.grad.flatten() for g in p.joint_guide.parameters()] + [prior[None], nll[None]])
            )
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients[0], gradients[2], rtol=1e-4, atol=1e-6)


class OneHot(Examples):
    """Row i of the identity with label 1, in batches of similar lengths: a linear layer's weight i is example i's alone."""

    def __init__(self, lengths: list[int]) -> None:
        self._lengths = torch.tensor(lengths)

    def __len__(self) -> int:
        return len(self._lengths)

    def batches(self, batch_size, shuffle=None):
        for index in batch_indices(len(self), batch_size, self._lengths, shuffle):
            yield Batch(torch.eye(len(self))[index], torch.ones(len(index), 1), index)


class ShortBatches:
    """A batch sampler that reads every index once, in batches of the sizes that it is given."""

    def __init__(self, sizes: list[int]) -> None:
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self):
        order = torch.randperm(sum(self._sizes)).tolist()
        return iter([[order.pop() for _ in range(size)] for size in self._sizes])


def weights_of_examples(data, n: int, batch_size: int, accumulate: int, epochs: int) -> torch.Tensor:
    """How often each example counts in the mean of all steps' gradients, where 1 is right."""
    linear = nn.Sequential(nn.Linear(n, 1, bias=False))
    nn.init.zeros_(linear[0].weight)
    with problem(linear, data, Direct(), Point(), latent_prior=Flat(), likelihood=UnitNormal()) as p:
        batches = _endless(p.examples, batch_size, torch.Generator().manual_seed(0))
        count = epochs * p.examples.batch_count(batch_size) // accumulate
        for _ in range(count):
            Steps(p, count).backward(list(islice(batches, accumulate)), p.examples.rows_per_batch(batch_size))
        # d/dw_i of (w_i - 1)^2 / 2 is -1 at w_i = 0, once for each time that example i counts.
        return -p.joint_guide.latent.mean()["W_1x" + str(n)].grad.flatten() * n / count


@given(st.lists(st.integers(1, 30), min_size=2, max_size=40), st.integers(1, 12), st.integers(1, 3))
def test_every_example_counts_the_same_whatever_the_lengths_and_the_short_batch(lengths, batch_size, accumulate):
    weights = weights_of_examples(OneHot(lengths), len(lengths), batch_size, accumulate, epochs=accumulate)
    torch.testing.assert_close(weights, torch.ones(len(lengths)), rtol=1e-5, atol=1e-5)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_every_example_of_a_loader_counts_the_same_whatever_its_batches(sizes, accumulate):
    n = sum(sizes)
    loader = DataLoader(TensorDataset(torch.eye(n), torch.ones(n, 1)), batch_sampler=ShortBatches(sizes))
    weights = weights_of_examples(loader, n, 1, accumulate, epochs=accumulate)
    torch.testing.assert_close(weights, torch.ones(n), rtol=1e-5, atol=1e-5)


def test_a_loader_that_drops_its_last_batch_weighs_what_it_gives():
    loader = DataLoader(TensorDataset(torch.eye(10), torch.ones(10, 1)), batch_size=4, drop_last=True)
    weights = weights_of_examples(loader, 10, 1, 1, epochs=1)
    # Of ten examples the mean over eight is taken.
    torch.testing.assert_close(weights, torch.tensor([10 / 8] * 8 + [0.0, 0.0]))
