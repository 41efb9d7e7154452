"""How often does the paired test of a comparison reject a difference that is 0? By simulation over seeds and examples.

python -m paper_repro.statistics.paired
"""

from __future__ import annotations

import numpy as np

from bayespeft.compare.significance import LEVEL, paired_p
from paper_repro.results import append

EXPERIMENT = "paired_test"
ROWS, REPEATS = 100, 6000
# Seeds, and standard deviations of the effects of seeds, of examples, and of both together.
CASES = [
    (1, 0.0, 1.0, 0.0), (2, 0.0, 1.0, 0.5), (2, 0.1, 1.0, 0.5), (2, 0.3, 1.0, 0.0), (2, 1.0, 1.0, 0.0),
    (3, 0.1, 1.0, 0.5), (3, 0.3, 1.0, 0.0), (3, 1.0, 1.0, 0.0),
]  # fmt: skip


def main() -> None:
    for seeds, of_seeds, of_examples, of_both in CASES:
        rng = np.random.default_rng(0)
        rejected = 0
        for _ in range(REPEATS):
            d = of_seeds * rng.normal(size=(seeds, 1)) + of_examples * rng.normal(size=(1, ROWS))
            rejected += paired_p(d + of_both * rng.normal(size=(seeds, ROWS))) < LEVEL
        append(
            EXPERIMENT, seeds=seeds, rows=ROWS, of_seeds=of_seeds, of_examples=of_examples, of_both=of_both,
            repeats=REPEATS, level=LEVEL, rejected=round(rejected / REPEATS, 4),
            error=round((LEVEL * (1 - LEVEL) / REPEATS) ** 0.5, 4),
        )  # fmt: skip


if __name__ == "__main__":
    main()
