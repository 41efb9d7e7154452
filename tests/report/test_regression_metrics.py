"""Metrics of mixtures of normals against numerical integration, simulation, and formulas for one component."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from bayespeft.errors import ConfigError, DataError
from bayespeft.report import regression_metrics as metrics


def mixture(size: int, n: int = 4, d: int = 2, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, n, d)), rng.uniform(0.2, 1.5, (size, n, d)), rng.normal(size=(n, d))


def cdf(z: float, m: np.ndarray, s: np.ndarray) -> float:
    return float(stats.norm.cdf(z, m, s).mean())


@given(st.integers(1, 5), st.integers(0, 1000))
def test_crps_is_the_integral(size, seed):
    m, s, y = mixture(size, 1, 1, seed)
    a, b, target = m[:, 0, 0], s[:, 0, 0], float(y[0, 0])
    below = integrate.quad(lambda z: cdf(z, a, b) ** 2, -15, target)[0]
    above = integrate.quad(lambda z: (cdf(z, a, b) - 1) ** 2, target, 15)[0]
    assert metrics.crps(m, s, y)[0, 0] == pytest.approx(below + above, abs=1e-7)


def test_crps_of_one_normal_is_gneiting_and_rafterys():
    m, s, y = mixture(1)
    z = (y - m[0]) / s[0]
    expected = s[0] * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(metrics.crps(m, s, y), expected, atol=1e-12)


def test_equal_components_are_one():
    m, s, y = mixture(1)
    many = np.repeat(m, 5, 0)
    np.testing.assert_allclose(metrics.crps(many, s, y), metrics.crps(m, s, y), atol=1e-12)
    np.testing.assert_allclose(metrics.nll(many, s, y), metrics.nll(m, s, y))
    np.testing.assert_allclose(metrics.pit(many, s, y), metrics.pit(m, s, y))
    np.testing.assert_allclose(metrics.width(0.9, many, s), metrics.width(0.9, m, s))


def test_nll_is_that_of_the_joint_density():
    m, s, y = mixture(3)
    density = stats.norm.pdf(y, m, s).prod(-1).mean(0)
    np.testing.assert_allclose(metrics.nll(m, s, y), -np.log(density))


@given(st.floats(0.001, 0.999), st.integers(1, 6), st.integers(0, 100))
def test_quantiles_invert_the_distribution_function(level, size, seed):
    m, s, _ = mixture(size, seed=seed)
    np.testing.assert_allclose(metrics.pit(m, s, metrics.quantile(level, m, s)), level, rtol=1e-9)


def test_coverage_from_the_pit_is_that_of_the_interval():
    m, s, y = mixture(4, n=300)
    low, high = (metrics.quantile(q, m, s) for q in (0.05, 0.95))
    inside = (low <= y) & (y <= high)
    np.testing.assert_array_equal(metrics.coverage(metrics.pit(m, s, y), 0.9), inside.astype(float))
    np.testing.assert_allclose(metrics.width(0.9, m, s), high - low)


def test_a_true_law_has_uniform_pit_and_its_coverage():
    m, s, _ = mixture(4, n=4000, d=1)
    rng = np.random.default_rng(1)
    which = rng.integers(0, 4, 4000)
    y = rng.normal(m[which, np.arange(4000)], s[which, np.arange(4000)])
    pits = metrics.pit(m, s, y)
    assert stats.kstest(pits.ravel(), "uniform").pvalue > 1e-4
    for level in (0.5, 0.9, 0.95):
        error = (level * (1 - level) / 4000) ** 0.5
        assert abs(metrics.coverage(pits, level).mean() - level) < 4 * error
    curve = metrics.calibration_curve(pits)
    assert metrics.calibration_error(curve) < metrics.calibration_noise(4000, level=0.9999)
    assert metrics.calibration_error(metrics.calibration_curve(metrics.pit(m, s / 2, y))) > 0.03


def test_scores_are_proper():
    """In expectation the true law scores better than one that is too wide, too narrow or off, by 4 standard errors."""
    m, s = np.zeros((1, 20_000, 1)), np.ones((1, 20_000, 1))
    y = np.random.default_rng(0).normal(size=(20_000, 1))
    for other_m, other_s in ((m, 1.5 * s), (m, s / 1.5), (m + 0.4, s)):
        for score in (metrics.crps, metrics.nll):
            worse = (score(other_m, other_s, y) - score(m, s, y)).ravel()
            assert worse.mean() > 4 * worse.std() / 20_000**0.5


def test_noise_shrinks_with_the_root_of_n():
    ratio = metrics.calibration_noise(100) / metrics.calibration_noise(10_000)
    assert ratio == pytest.approx(10, rel=0.15)
    with pytest.raises(ConfigError, match="resamples is 0"):
        metrics.calibration_noise(10, resamples=0)


def test_pit_at_the_ends_is_counted():
    assert metrics.pit_counts(np.array([[0.0], [1.0], [0.5]])).sum() == 3
    assert metrics.calibration_curve(np.array([[0.0], [1.0]]))[-1] == 1


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0])
def test_levels_are_inside(level):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        metrics.quantile(level, *mixture(2)[:2])


def test_bad_input_is_an_error():
    m, s, y = mixture(2)
    with pytest.raises(DataError, match=r"\(2, 4, 2\).*\(4, 3\)"):
        metrics.validate(m, s, np.zeros((4, 3)))
    with pytest.raises(DataError, match="stds must be positive"):
        metrics.validate(m, 0 * s, y)
    y[2, 1] = np.nan
    with pytest.raises(DataError, match="targets of example 2: NaN"):
        metrics.validate(m, s, y)
    with pytest.raises(DataError, match="at least one of each"):
        metrics.validate(np.zeros((2, 0, 1)), np.zeros((2, 0, 1)), np.zeros((0, 1)))
