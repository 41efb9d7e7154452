"""Derivatives in factors say what the dense ones say: covariances of outputs, curvature, in every family."""

from __future__ import annotations

import pytest
import torch

from bayespeft.gaussians.outer import FeatureJacobian, OuterCurvature, OuterJacobian
from tests.gaussians.families import FAMILIES, covariance, randn, seeded

ROWS = 5
families = pytest.mark.parametrize("family", FAMILIES)
shapes = pytest.mark.parametrize("shape", [(4, 3), (4,), (4, 1), (1, 3)], ids=str)
lefts = pytest.mark.parametrize("outputs", [None, 2], ids=["its own outputs", "behind something"])


def jacobian(shape, outputs, generator) -> OuterJacobian:
    right = randn(generator, ROWS, shape[1]) if len(shape) > 1 else torch.ones(ROWS, 1, dtype=torch.double)
    left = None if outputs is None else randn(generator, ROWS, outputs, shape[0])
    return OuterJacobian(left, right, torch.Size(shape))


@families
@shapes
@lefts
def test_the_covariance_of_the_outputs_is_that_of_the_dense_jacobian(family, shape, outputs):
    generator = seeded(3)
    q, own = FAMILIES[family]((1, *shape), generator), jacobian(shape, outputs, generator)
    flat = own.dense().flatten(2)
    assert flat.shape == (ROWS, outputs or shape[0], torch.Size(shape).numel())
    expected = flat @ covariance(q)[0] @ flat.mT
    for found in (q.output_covariance(own), q.output_covariance(own.dense())):
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@families
def test_the_covariance_through_features_is_that_of_the_dense_jacobian(family):
    generator = seeded(6)
    q = FAMILIES[family]((2, 3, 2), generator)
    own = FeatureJacobian(randn(generator, ROWS, 3, 2, 3, 2), randn(generator, 7, 3))
    found, expected = q.output_covariance(own), q.output_covariance(own.dense())
    assert found.shape == (ROWS, 7, 7)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_the_root_through_features_is_one_of_the_same_curvature():
    generator = seeded(7)
    own, root = FeatureJacobian(randn(generator, ROWS, 3, 4), randn(generator, 7, 3)), randn(generator, ROWS, 7, 7)
    dense = root.mT @ own.dense()
    found = own.root(root @ root.mT)
    assert found.shape == (ROWS, 3, 4)
    torch.testing.assert_close(found.mT @ found, dense.mT @ dense, atol=1e-9, rtol=1e-9)
    broken = root @ root.mT
    broken[1, 2, 3] = torch.inf
    finite = own.root(broken).isfinite().flatten(1).all(1)
    assert finite.tolist() == [True, False, True, True, True]


@shapes
@lefts
def test_the_dense_jacobian_is_that_of_autograd(shape, outputs):
    generator = seeded(4)
    own, weight = jacobian(shape, outputs, generator), randn(generator, *shape)

    def outputs_of(weight):
        y = own.right @ weight.mT if weight.dim() > 1 else weight.expand(ROWS, -1)
        return y if own.left is None else (own.left @ y.unsqueeze(-1)).squeeze(-1)

    expected = torch.autograd.functional.jacobian(outputs_of, weight)
    torch.testing.assert_close(own.dense()[:, :, 0], expected, atol=1e-12, rtol=1e-12)


@shapes
@lefts
def test_the_curvature_is_that_of_the_dense_jacobian(shape, outputs):
    generator = seeded(5)
    own = jacobian(shape, outputs, generator)
    root = randn(generator, ROWS, outputs or shape[0], outputs or shape[0])
    by_output = root @ root.mT
    flat = own.dense().flatten(2)
    dense = flat.mT @ by_output @ flat
    found = own.curvature(by_output)
    assert isinstance(found, OuterCurvature)
    m, n = shape if len(shape) > 1 else (*shape, 1)
    total = dense.sum(0)
    torch.testing.assert_close(found.diagonal(), total.diagonal().reshape(m, n), atol=1e-10, rtol=1e-10)
    blocks = total.reshape(m, n, m, n)
    rows, columns = found.partial_traces()
    torch.testing.assert_close(rows, torch.einsum("abcb->ac", blocks), atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(columns, torch.einsum("abac->bc", blocks), atol=1e-10, rtol=1e-10)
