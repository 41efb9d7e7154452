"""GaussianWeight of what a layer with random weights gives."""

from __future__ import annotations

import math

import pytest
import torch

from bayespeft.errors import GuideError
from bayespeft.layers.moments import GaussianWeight


def test_moments_of_a_matrix_and_a_vector():
    generator = torch.Generator().manual_seed(0)
    mean, root = torch.randn(2, 3, generator=generator), torch.randn(2, 3, 3, generator=generator).tril()
    x = torch.randn(4, 5, 3, generator=generator)
    out = GaussianWeight(torch.tensor([0.5, -0.5]), torch.tensor([0.1, 2.0])).add(GaussianWeight(mean, root).linear(x))
    torch.testing.assert_close(out[..., :2], x @ mean.T + torch.tensor([0.5, -0.5]))
    expected = torch.einsum("bti,kij,btj->btk", x, root @ root.mT, x) + torch.tensor([0.01, 4.0])
    torch.testing.assert_close(out[..., 2:], expected)
    std = root.diagonal(dim1=-2, dim2=-1)
    diagonal = GaussianWeight(mean, std).linear(x)
    torch.testing.assert_close(diagonal[..., 2:], x.square() @ std.square().T)
    with pytest.raises(GuideError):
        GaussianWeight(mean, std).mul(x)
    assert math.isclose(float(GaussianWeight(mean, root)._minus(mean).linear(x)[..., :2].abs().max()), 0.0)
