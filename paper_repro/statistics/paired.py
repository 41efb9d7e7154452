"""How often does the paired test of a comparison reject a difference that is 0? By simulation over seeds and examples.

python -m paper_repro.statistics.paired
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from bayespeft.compare.significance import LEVEL, paired_p
from paper_repro.results import append

EXPERIMENT = "paired_test"
ROWS, REPEATS = 100, 10_000
LEVELS = (LEVEL, LEVEL / 10)
"""The second is what Holm's correction asks of the best of five methods."""
# Seeds, and standard deviations of the effects of seeds, of examples, and of both together.
CASES = [
    (1, 0.0, 1.0, 0.0), (2, 0.0, 1.0, 0.5), (2, 0.1, 1.0, 0.5), (2, 0.3, 1.0, 0.0), (2, 1.0, 1.0, 0.0), (2, 3.0, 1.0, 0.0),
    (3, 0.1, 1.0, 0.5), (3, 0.3, 1.0, 0.0), (3, 1.0, 1.0, 0.0), (5, 0.1, 1.0, 0.5), (5, 0.3, 1.0, 0.0), (5, 1.0, 1.0, 0.0),
]  # fmt: skip


def weighted(d: npt.NDArray[np.float64], level: float) -> bool:
    """Whether Cochran's and Cox's weighted quantiles reject (1957, Experimental Designs, section 4.14)."""
    seeds, n = d.shape
    of_seeds = d.mean(1).var(ddof=1) / seeds if seeds > 1 else 0.0
    of_examples = d.mean(0).var(ddof=1) / n
    share = of_seeds / (of_seeds + of_examples)
    quantile = share * -stdtrit(max(seeds - 1, 1), level / 2) + (1 - share) * -stdtrit(n - 1, level / 2)
    return bool(abs(d.mean()) > quantile * (of_seeds + of_examples) ** 0.5)


def main() -> None:
    for seeds, of_seeds, of_examples, of_both in CASES:
        rng = np.random.default_rng(0)
        rejected, by_weights = np.zeros(2), np.zeros(2)
        for _ in range(REPEATS):
            d = of_seeds * rng.normal(size=(seeds, 1)) + of_examples * rng.normal(size=(1, ROWS))
            d = d + of_both * rng.normal(size=(seeds, ROWS))
            p = paired_p(d)
            rejected += [p < level for level in LEVELS]
            by_weights += [weighted(d, level) for level in LEVELS]
        for level, own, others in zip(LEVELS, rejected / REPEATS, by_weights / REPEATS, strict=True):
            append(
                EXPERIMENT, seeds=seeds, rows=ROWS, of_seeds=of_seeds, of_examples=of_examples, of_both=of_both,
                repeats=REPEATS, level=level, rejected=round(float(own), 4), weighted=round(float(others), 4),
                error=round((level * (1 - level) / REPEATS) ** 0.5, 4),
            )  # fmt: skip


if __name__ == "__main__":
    main()
