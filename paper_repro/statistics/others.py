"""How often do the intervals of how well uncertainty tells other data hold the populations' figures? By simulation.

python -m paper_repro.statistics.others
"""

from __future__ import annotations

import numpy as np

from bayespeft.report.metrics.detection import auroc, average_precision, false_positive_rate
from bayespeft.report.ood import separations
from paper_repro.results import append, read

EXPERIMENT = "separation_coverage"
POPULATION, REPEATS = 200_000, 400
FIGURES = {"auroc": auroc, "aupr": average_precision, "fpr95": false_positive_rate}
SIZES = [(50, 50), (50, 20), (300, 60), (300, 300), (1000, 100)]
"""Rows of the test set, and of the other set."""
SHIFTS = (0.8, 2.0, 3.5)
"""By how many standard deviations the other set's scores are higher; both sets' are normal."""


def measure(inside: int, outside: int, shift: float) -> None:
    rng = np.random.default_rng(1_000_000)
    # The average precision goes by the sizes of the two sets.
    population = rng.normal(size=POPULATION), shift + rng.normal(size=POPULATION * outside // inside)
    truth = {name: figure(*population) for name, figure in FIGURES.items()}
    held, width = dict.fromkeys(FIGURES, 0), dict.fromkeys(FIGURES, 0.0)
    for seed in range(REPEATS):
        own = np.random.default_rng(seed)
        scores = {"s": own.normal(size=inside)}, {"other": {"s": shift + own.normal(size=outside)}}
        (row,) = separations(*scores)
        for name, value in truth.items():
            found = getattr(row, name)
            held[name] += found.low <= value <= found.high
            width[name] += (found.high - found.low) / REPEATS
    append(
        EXPERIMENT, inside=inside, outside=outside, shift=shift, samples=REPEATS,
        truth={name: round(value, 4) for name, value in truth.items()},
        held={name: round(count / REPEATS, 4) for name, count in held.items()},
        width={name: round(value, 4) for name, value in width.items()},
    )  # fmt: skip


def main() -> None:
    done = {(r["inside"], r["outside"], r["shift"]) for r in read(EXPERIMENT) if "width" in r}
    for sizes in SIZES:
        for shift in SHIFTS:
            if (*sizes, shift) not in done:
                measure(*sizes, shift)


if __name__ == "__main__":
    main()
