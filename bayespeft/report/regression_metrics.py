"""Metrics of predicted quantities: pure functions over equal mixtures of normals, of which one normal is the simplest.

A law is given by `means` and `stds`, (S, ...) each, or what broadcasts to one another: S components with weight 1 / S for
every target. Everything is element by element and exact for the mixture (nothing is replaced by a normal of the same
moments), except that quantiles are found by bisection to the last digits.

    CRPS = integral of (F(z) - 1[z >= y])^2 dz        Gneiting & Raftery 2007, JASA 102(477), eq. 20
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, ndtr, ndtri

from bayespeft.errors import ConfigError, DataError
from bayespeft.report.binning import Floats
from bayespeft.report.fractions import check_fraction
from bayespeft.report.metrics.calibration import folded_mean
from bayespeft.report.metrics.examples import as_array

HALVINGS = 60
PIT_BINS = 20


def validate(means: npt.ArrayLike, stds: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Check a mixture for n examples with d targets and return float64 arrays (S, n, d), (S or 1, n, d), (n, d).

    Raises:
        DataError: no arrays, wrong shapes, no example, NaN or infinity, or a standard deviation that is not positive.
    """
    given = {"means": means, "stds": stds, "targets": targets}
    m, s, y = (as_array(values, name, np.float64) for name, values in given.items())
    if m.ndim != 3 or 0 in m.shape or y.shape != m.shape[1:] or s.shape not in (m.shape, (1, *m.shape[1:])):
        raise DataError(
            f"means {m.shape}, stds {s.shape} and targets {y.shape}: (S, n, d), (S or 1, n, d) and (n, d) are expected, with "
            "at least one of each."
        )
    for name, values in (("means", m), ("stds", s), ("targets", y)):
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0, values.ndim - 2])
            raise DataError(f"{name} of example {row}: NaN or infinite. Look for an overflow, or repair the value.")
    if (s <= 0).any():
        raise DataError("stds must be positive: a law without width has no density.")
    return m, s, y


def validate_scores(log_likelihood: npt.ArrayLike, n: int) -> Floats:
    """Check the log-likelihoods of n examples and return them as float64 (n,).

    Raises:
        DataError: no array, another shape, or one is NaN or infinite.
    """
    found = as_array(log_likelihood, "log_likelihood", np.float64)
    if found.shape != (n,):
        raise DataError(f"log_likelihood has shape {found.shape}: one for each of {n} examples, ({n},), is expected.")
    if not np.isfinite(found).all():
        row = int(np.isfinite(found).argmin())
        raise DataError(f"log_likelihood of example {row} is {found[row]}: look for an overflow, or repair the value.")
    return found


def nll(means: Floats, stds: Floats, targets: Floats) -> Floats:
    """Return minus the log joint density of the d targets under the mixture, (n,), in nats.

    Args:
        means: (S, n, d).
        stds: (S, n, d), or what broadcasts.
        targets: (n, d).
    """
    z = (targets - means) / stds
    log_density = -(0.5 * z**2 + np.log(stds) + 0.5 * np.log(2 * np.pi)).sum(-1)
    result: Floats = np.log(len(log_density)) - logsumexp(log_density, axis=0)
    return result


def pit(means: Floats, stds: Floats, targets: Floats) -> Floats:
    """Return the probability integral transform F(y) of targets (...,): uniform if the law is true (Dawid 1984)."""
    result: Floats = ndtr((targets - means) / stds).mean(0)
    return result


def quantile(level: float, means: Floats, stds: Floats) -> Floats:
    """Return the quantile of the mixture at a level in (0, 1), (...,): between the least and the largest component's.

    Raises:
        ConfigError: the level is not between 0 and 1.
    """
    check_fraction("level", level, "a quantile", 0.5)
    single = means + ndtri(level) * stds
    low, high = single.min(0), single.max(0)
    if len(single) == 1:
        return np.asarray(low)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        below = pit(means, stds, middle) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    result: Floats = 0.5 * (low + high)
    return result


def coverage(pits: Floats, level: float) -> Floats:
    """Return 1.0 where a target lies in the central interval that holds `level` of its law, else 0.0; (...,).

    From the PIT: the interval from the quantile (1 - level) / 2 to (1 + level) / 2 holds y iff |F(y) - 1/2| <= level / 2.
    """
    return (np.abs(pits - 0.5) <= 0.5 * level).astype(np.float64)


def width(level: float, means: Floats, stds: Floats) -> Floats:
    """Return the width of the central interval that holds `level` of the law, (...,), in the targets' units."""
    return quantile(0.5 + 0.5 * level, means, stds) - quantile(0.5 - 0.5 * level, means, stds)


def crps(means: Floats, stds: Floats, targets: Floats) -> Floats:
    """Return the continuous ranked probability score (...,), in the targets' units; 0 is perfect.

    Closed form for a mixture (Grimit et al. 2006, QJRMS 132(621C), eq. 5): mean_i A(y - m_i, s_i) - 1/2 mean_ij
    A(m_i - m_j, sqrt(s_i^2 + s_j^2)) with A(m, s) = E|N(m, s^2)|. It takes S^2 / 2 such terms a target.
    """
    s = np.broadcast_to(stds, means.shape)
    total = folded_mean(targets - means, s).mean(0)
    size = len(means)
    for i in range(size):
        total -= folded_mean(np.zeros_like(total), np.sqrt(2) * s[i]) / (2 * size**2)
        if i:
            pairs = folded_mean(means[i] - means[:i], np.sqrt(s[i] ** 2 + s[:i] ** 2))
            total -= pairs.sum(0) / size**2
    result: Floats = total
    return result


def calibration_curve(pits: Floats) -> Floats:
    """Return the fraction of PIT values up to 0, 1/20, ..., 1: (21,).

    Kuleshov et al. 2018 (arXiv 1807.00263), section 3.5: on the diagonal if predictions are calibrated.
    """
    return np.concatenate([[0.0], np.cumsum(pit_counts(pits)) / pits.size])


def pit_counts(pits: Floats) -> npt.NDArray[np.int64]:
    """Return how many PIT values fall into each of `PIT_BINS` equal bins of [0, 1]."""
    return np.histogram(pits, PIT_BINS, (0.0, 1.0))[0].astype(np.int64)


def calibration_error(curve: Floats) -> float:
    """Return the mean distance of a calibration curve from the diagonal, over its inner levels; in [0, 1/2)."""
    levels = np.linspace(0, 1, len(curve))
    return float(np.abs(curve - levels)[1:-1].mean())


def calibration_noise(n: int, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> float:
    """Return the calibration error that sampling noise alone reaches: a quantile of that of n independent uniforms.

    Raises:
        ConfigError: `resamples` is below 1.
    """
    return float(np.quantile(_simulated(n, np.full(PIT_BINS, 1 / PIT_BINS), resamples, seed), level))


def calibration_power(n: int, noise: float, points: float, resamples: int = 1000, seed: int = 0) -> float:
    """Return in which share of samples laws that are too narrow have a calibration error above `noise`: the test's power.

    Targets and laws are normal, with laws so narrow that their central 90 % intervals hold `points` less.

    Raises:
        ConfigError: `resamples` is below 1.
    """
    ratio = ndtri(0.95 - points / 2) / ndtri(0.95)
    shares = np.diff(ndtr(ratio * ndtri(np.linspace(0, 1, PIT_BINS + 1))))
    return float((_simulated(n, shares, resamples, seed) > noise + 1e-9).mean())


def _simulated(n: int, shares: Floats, resamples: int, seed: int) -> Floats:
    """The calibration errors of samples whose PIT values fall into equal bins with these probabilities, (resamples,)."""
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}: at least 1 is needed (usual: 1000).")
    counts = np.random.default_rng(seed).multinomial(n, shares, size=resamples)
    curves = np.cumsum(counts, 1)[:, :-1] / n
    errors: Floats = np.abs(curves - np.arange(1, len(shares)) / len(shares)).mean(1)
    return errors
