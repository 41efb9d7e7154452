"""The law of a linearised network's outputs: whole, and by one direction of each example."""

from __future__ import annotations

import torch
from torch import nn

from bayespeft.adapters.attach import frozen, mode
from bayespeft.config import TrainConfig
from bayespeft.data.source import source_of
from bayespeft.fitting.assemble import assemble
from bayespeft.methods.melora import METHOD
from bayespeft.prediction.common_shape import CommonShape
from bayespeft.prediction.output_law import output_laws
from tests.prediction.test_linearised import scatter

ROWS, CLASSES, TEMPERATURE = 7, 4, 1.7


def test_one_backward_pass_measures_the_variance_along_the_direction_of_each_example():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    data = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)), torch.arange(ROWS) % CLASSES
    method = METHOD.replace(train=TrainConfig(steps=1))
    with assemble(network, source_of(data), method, targets="all-linear") as made:
        problem = made.problem
        scatter(problem, 0.5)
        with mode(network), frozen(network):
            # Three rows are a pass, so that the last has one.
            whole = list(output_laws(problem, problem.examples, 3, TEMPERATURE))
            shape = CommonShape.of(torch.cat([law.covariance for law in whole]))
            told = list(output_laws(problem, problem.examples, 3, TEMPERATURE, shape))
    assert [law.passes for law in whole] == [CLASSES - 1] * 3
    assert [law.passes for law in told] == [1] * 3
    for one, other in zip(told, whole, strict=True):
        assert torch.equal(one.mean, other.mean)
        g = shape.directions(other.mean)
        variance, expected = (torch.einsum("nk,nkl,nl->n", g, law.covariance, g) for law in (one, other))
        assert float(expected.min()) > 1e-4
        torch.testing.assert_close(variance, expected, rtol=1e-5, atol=0)
        ratio = one.covariance / shape.matrix
        assert float(ratio[:, :-1, :-1].std((1, 2)).max()) < 1e-9 * float(ratio[:, :-1, :-1].max())
