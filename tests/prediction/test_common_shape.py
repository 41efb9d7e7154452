"""Covariances of one shape: exact where they differ by their size alone, and measured along the direction that counts most."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import bayespeft
from bayespeft.adapters.core import Core
from bayespeft.config import TrainConfig
from bayespeft.methods.melora import METHOD
from bayespeft.prediction.common_shape import CommonShape

CLASSES = 4


def covariances(n: int) -> Tensor:
    root = torch.randn(n, CLASSES, CLASSES, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    return root @ root.mT


def logits(n: int) -> Tensor:
    return torch.randn(n, CLASSES, generator=torch.Generator().manual_seed(n))


@pytest.fixture
def posterior():
    """Of one layer through one channel: the covariance of logits is B B^T, times what the input makes of it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, CLASSES))
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(60, 3, generator=generator), torch.arange(60) % CLASSES
    method = METHOD.replace(adapter=Core(r=1), train=TrainConfig(steps=60, lr=0.05))
    fitted = bayespeft.fit(network, (x, y), method, targets="all-linear", progress=False)
    for parameter in fitted.joint_guide.latent.spread():
        parameter.data.fill_(0.0)
    return fitted, (x, y)


def test_one_backward_pass_says_what_all_do_where_covariances_differ_by_size_alone(posterior):
    fitted, (x, y) = posterior
    with fitted._predictor() as predictor:
        examples = bayespeft.fitting.reader.as_examples(fitted._source((x, y)), fitted.likelihood, None, fitted.model)
        shape = predictor.common_shape(examples.subset(torch.arange(10)), 0)
        found = predictor.linearised(examples, 0, shape=shape)
        whole = predictor.linearised(examples, 0)
    assert (found.backward_passes, whole.backward_passes) == (1, CLASSES - 1)
    assert float(whole.mutual_information.max()) > 0.01
    torch.testing.assert_close(found.log_probs, whole.log_probs, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.expected_entropy, whole.expected_entropy, rtol=0, atol=1e-5)


def test_a_covariance_of_the_shape_is_found_by_its_variance_along_any_direction():
    shape = CommonShape.of(covariances(1))
    size = torch.tensor([0.1, 2.0, 30.0], dtype=torch.float64)
    directions = shape.directions(logits(3))
    variances = torch.einsum("nk,kl,nl->n", directions, covariances(1)[0], directions) * size
    torch.testing.assert_close(shape.sized(directions, variances), size[:, None, None] * covariances(1))


def test_a_shape_is_the_mean_in_units_of_the_trace():
    one, other = covariances(2)
    both = torch.stack([one, 1000 * other])
    expected = (one / one.trace() + other / other.trace()) / 2
    torch.testing.assert_close(CommonShape.of(both).matrix, expected)


def test_no_direction_tells_more_of_the_probabilities():
    """Var(p) is H R H to first order; knowing g^T f leaves that less (H R g)(H R g)^T / g^T R g."""
    shape, f = CommonShape.of(covariances(3)), logits(5).double()
    p = torch.softmax(f, -1)
    curvature = torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)

    def told(directions: Tensor) -> Tensor:
        moved = (curvature @ shape.matrix @ directions.unsqueeze(-1)).squeeze(-1)
        return moved.square().sum(-1) / torch.einsum("nk,kl,nl->n", directions, shape.matrix, directions)

    best = told(shape.directions(f))
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        other = torch.randn(5, CLASSES, generator=generator, dtype=torch.float64)
        # A direction that all logits move along together moves no probability.
        other -= other.mean(-1, keepdim=True)
        assert (told(other) <= best * (1 + 1e-4)).all()


def test_what_does_not_vary_has_no_covariance():
    shape = CommonShape.of(torch.zeros(2, CLASSES, CLASSES, dtype=torch.float64))
    directions = shape.directions(logits(3))
    assert not shape.sized(directions, torch.zeros(3, dtype=torch.float64)).any()


def test_a_law_that_is_certain_has_a_direction():
    shape = CommonShape.of(covariances(3))
    directions = shape.directions(torch.tensor([[500.0, 0.0, 0.0, 0.0], [0.0, -1e30, 0.0, 0.0]]))
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(2, dtype=torch.float64))
