"""The marginal likelihood against the exact one of linear regression, and its maximum."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, Normal

from bayespeft.gaussians.evidence import HIGHEST, LOWEST, best_precision, log_evidence

seeds = st.integers(0, 2**31)
precisions = st.floats(0.05, 50)


def regression(rows: int, inputs: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inputs, generator=generator, dtype=torch.double)
    y = x.sum(1) + torch.randn(rows, generator=generator, dtype=torch.double)
    return x, y, torch.randn(inputs, generator=generator, dtype=torch.double)


@given(rows=st.integers(1, 8), inputs=st.integers(1, 5), precision=precisions, seed=seeds)
def test_exact_for_linear_regression_at_its_mode(rows, inputs, precision, seed):
    # y ~ N(X w, I), w ~ N(center, I / tau): H = X^T X, and y ~ N(X center, I + X X^T / tau).
    x, y, center = regression(rows, inputs, seed)
    hessian = x.T @ x
    mode = torch.linalg.solve(hessian + precision * torch.eye(inputs), x.T @ y + precision * center)
    likelihood = Normal(x @ mode, 1.0).log_prob(y).sum()
    distance = (mode - center).square().sum()
    exact = MultivariateNormal(x @ center, torch.eye(rows).double() + x @ x.T / precision).log_prob(y)
    eigenvalues = torch.linalg.eigvalsh(hessian).clamp_min(0)
    found = log_evidence(float(likelihood), float(distance), eigenvalues, precision)
    assert found == pytest.approx(float(exact), rel=1e-9, abs=1e-8)


@given(size=st.integers(1, 6), distance=st.floats(1e-3, 1e3), seed=seeds)
def test_the_best_precision_is_the_best_of_a_grid_and_solves_mackays_equation(size, distance, seed):
    eigenvalues = torch.randn(size, generator=torch.Generator().manual_seed(seed)).exp() * 5
    best = best_precision(distance, eigenvalues, 1.0)
    determined = float((eigenvalues.double() / (eigenvalues.double() + best)).sum())
    assert best * distance == pytest.approx(determined, rel=1e-6)
    highest = log_evidence(-3.0, distance, eigenvalues, best)
    for precision in torch.logspace(-5, 7, 61).tolist():
        assert log_evidence(-3.0, distance, eigenvalues, precision) <= highest + 1e-9


def test_fixed_point_of_regression_recovers_the_precision_that_made_the_weights():
    # MacKay's iteration: the mode under tau, then the best tau for that mode.
    generator = torch.Generator().manual_seed(0)
    truth, inputs = 4.0, 400
    x = torch.randn(800, inputs, generator=generator, dtype=torch.double)
    weights = torch.randn(inputs, generator=generator, dtype=torch.double) / truth**0.5
    y = x @ weights + torch.randn(800, generator=generator, dtype=torch.double)
    hessian, precision = x.T @ x, 1.0
    for _ in range(30):
        mode = torch.linalg.solve(hessian + precision * torch.eye(inputs), x.T @ y)
        precision = best_precision(float(mode.square().sum()), torch.linalg.eigvalsh(hessian), 1.0)
    # The sum of 400 squares has a relative standard deviation of sqrt(2 / 400).
    assert abs(precision / truth - 1) < 4 * (2 / inputs) ** 0.5


def test_ends_of_the_range():
    curved, flat = torch.tensor([2.0, 0.0]), torch.zeros(2)
    assert best_precision(0.0, curved, 3.0) == HIGHEST, "a point that never moved"
    assert best_precision(1e9, curved, 3.0) == LOWEST
    assert best_precision(1.0, flat, 3.0) == 3.0, "data that say nothing"


def test_evidence_survives_a_prior_much_stronger_than_the_data():
    assert log_evidence(-1.0, 0.0, torch.ones(1000), 1e8) == pytest.approx(-1.0 - 0.5 * 1000 / 1e8, rel=1e-12)
