"""Is it better than the trivial answer? The base rates of the rows themselves, the best that knows nothing of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayespeft.report.binning import Floats, Ints
from bayespeft.report.bootstrap import explained
from bayespeft.report.metric import Metric


@dataclass(frozen=True, slots=True)
class Baseline:
    """The answer that gives every row the base rates, the frequencies of the classes among these rows.

    Attributes:
        majority: the most frequent class, the lowest of equals.
        accuracy: its frequency, which always answering with it reaches.
        nll: entropy of the frequencies, nats: the NLL of the base rates.
        skill: 1 - NLL / NLL of the base rates: 1 is perfect, 0 is no better than these, below 0 is worse. None where all rows
            are of one class. Its interval covers that of the population.
    """

    majority: int
    accuracy: float
    nll: float
    skill: Metric | None

    @property
    def beaten(self) -> bool:
        """Whether the skill is shown to be above 0: the whole interval is."""
        return self.skill is not None and self.skill.low > 0


def baseline(nll: Floats, labels: Ints, classes: int, *, resamples: int = 1000, seed: int = 0) -> Baseline:
    """Compare predictions with base rates.

    Args:
        nll: (n,) minus log-probability of each label, nats.
        labels: (n,).
        classes: K.
        resamples: bootstrap samples.
        seed: of these.

    Raises:
        ConfigError: `resamples` is below 1.
    """
    shares = np.bincount(labels, minlength=classes) / len(labels)
    own = -np.log(shares[labels])
    skill = explained(nll[:, None], own[:, None], resamples=resamples, seed=seed)
    return Baseline(int(shares.argmax()), float(shares.max()), max(float(own.mean()), 0.0), skill)
