"""Calibration of probabilities of which an example has several, of labels or tokens: examples are resampled, with all of them.

Labels of one example err together, so that it is the examples which are independent (Efron & Tibshirani 1993, section 8.4, with
examples as the units).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayespeft.report.binning import N_BINS, Bin, Floats, Ints, bin_index, score_bins
from bayespeft.report.bootstrap import ece_noise, ece_power, resampled_counts
from bayespeft.report.deviation import deviation
from bayespeft.report.metric import Metric
from bayespeft.report.verdict import POINTS, Verdict, within_noise

# At most WORK labels times resamples are simulated, but never fewer than FEWEST resamples.
WORK, FEWEST = 100_000_000, 50


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of probabilities of labels: what they claim, against the share that comes true.

    Attributes:
        ece: expected calibration error over 15 bins of equal width, as a fraction, with the interval of the population's.
        noise: the ECE that a perfectly calibrated model exceeds in 5 % of samples of so many labels with these probabilities,
            if labels were independent of each other.
        power: share of such samples in which claims that are 5 points too high would exceed `noise`.
        bins: of the probability, from 0 to 1; the `accuracy` of a bin is the share that came true.
    """

    ece: Metric
    noise: float
    power: float
    bins: tuple[Bin, ...]

    @property
    def rejected(self) -> bool:
        """Whether the error is beyond noise of independent labels, and of labels that err together within an example."""
        return self.ece.value > self.noise + 1e-9 and self.ece.low > 0

    def within_noise(self, n: int, skill: Metric | None, trivial: str) -> Verdict:
        """Return the verdict where calibration is not rejected; arguments as `verdict.within_noise`."""
        return within_noise(n, self.noise, self.power, skill, trivial)


class Pooled:
    """A report with the `calibration` of all its probabilities together."""

    __slots__ = ()
    calibration: Calibration

    @property
    def ece(self) -> Metric:
        """Expected calibration error of all probabilities together."""
        return self.calibration.ece

    @property
    def bins(self) -> tuple[Bin, ...]:
        """Bins of these probabilities."""
        return self.calibration.bins


def pooled_calibration(
    probs: Floats, outcomes: Floats, owner: Ints, n: int, *, resamples: int = 1000, seed: int = 0
) -> Calibration:
    """Compare probabilities with outcomes.

    Args:
        probs: (m,) probabilities of labels.
        outcomes: (m,) 1.0 where the label came true, else 0.0.
        owner: (m,) which example each label is of.
        n: examples.
        resamples: bootstrap samples of examples, and simulated samples, of which there are fewer where labels are very many.
        seed: of both.

    Raises:
        ConfigError: `resamples` is below 1.
    """
    m = len(probs)
    gaps = np.zeros((n, N_BINS))
    np.add.at(gaps, (owner, bin_index(probs)), (outcomes - probs) / m)
    found = gaps.sum(axis=0)
    distances = [
        np.abs(drawn @ gaps - found).sum(axis=1)
        for _, drawn in resampled_counts(n, resamples, np.random.default_rng(seed))
    ]
    # The error is n times a mean over examples, of which one adds no more than the distances of all its labels.
    square = float(((n / m * np.bincount(owner, np.abs(outcomes - probs), n)) ** 2).mean())
    simulated = min(resamples, max(WORK // m, FEWEST))
    noise = ece_noise(probs, resamples=simulated, seed=seed)
    return Calibration(
        ece=deviation(float(np.abs(found).sum()), np.concatenate(distances), square, n),
        noise=noise,
        power=ece_power(probs, noise, POINTS, resamples=simulated, seed=seed),
        bins=score_bins(probs, outcomes),
    )
