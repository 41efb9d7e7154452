"""Says what became slower or larger: the newest record of each case against the one before it, by ratio.

    python -m paper_repro.efficiency.check [--tolerance 0.1]

Figures are ratios within one run (a step against peft's, draws against passes, a token against a plain one), bytes, and draws,
all of which should fall. Seconds are not compared, as the machine may have been busier. Cases are compared on one kind of
machine only. Ends with 1 if a figure rose by more than the tolerance.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from paper_repro.results import read

FIGURES = {
    "step": ("ratio", "against_as_run", "against_official"),
    "large_step": ("ratio", "peak_bytes"),
    "draws_speed": (
        "ratio",
        "folded_ratio",
        "to_one_pass",
        "linearised_passes",
        "direction_passes",
        "against_official",
    ),
    "generation_speed": ("against_plain", "token_against_plain", "against_sequential"),
    "report": ("peak_memory_bytes",),
    "decisions": ("draws",),
    "axes": ("step", "draws"),
}
"""Experiment -> what is compared; less is better."""

# What says which case a record is of; the rest are figures.
CASE = (
    "model", "method", "part", "task", "examples", "classes", "batch", "length", "draws", "prompt", "tokens", "last", "bits",
    "dtype", "precision", "machine", "rank", "axis", "at",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A figure of one case, in its newest record and in the one before."""

    experiment: str
    case: tuple[tuple[str, Any], ...]
    figure: str
    before: float
    now: float

    @property
    def ratio(self) -> float:
        """The newest figure over the one before."""
        return self.now / self.before

    def __str__(self) -> str:
        case = ", ".join(f"{name} {value}" for name, value in self.case)
        return f"{self.experiment} ({case}): {self.figure} {self.before} -> {self.now}, x {self.ratio:.2f}"


def changes(experiment: str, records: Iterable[dict[str, Any]]) -> Iterator[Change]:
    """Yield the figures of all cases of an experiment that were measured at least twice.

    Args:
        experiment: one of `FIGURES`.
        records: of it, oldest first.
    """
    figures = FIGURES[experiment]
    cases: dict[tuple[tuple[str, Any], ...], list[dict[str, Any]]] = {}
    for record in records:
        case = tuple((name, record[name]) for name in CASE if record.get(name) is not None and name not in figures)
        cases.setdefault(case, []).append(record)
    for case, found in cases.items():
        for figure in figures:
            values = [record[figure] for record in found if record.get(figure)]
            if len(values) > 1:
                yield Change(experiment, case, figure, *values[-2:])


def main() -> int:
    """Print what rose, and return 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tolerance", type=float, default=0.1, help="how much a figure may rise, as a share")
    args = parser.parse_args()
    found = [change for experiment in FIGURES for change in changes(experiment, read(experiment))]
    worse = [change for change in found if change.ratio > 1 + args.tolerance]
    for change in worse:
        print(change)
    print(f"{len(worse)} of {len(found)} figures rose by more than {100 * args.tolerance:g} %")
    return int(bool(worse))


if __name__ == "__main__":
    raise SystemExit(main())
