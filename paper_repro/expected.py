"""What a rerun must meet: for each figure, where one more seed would lie if it were drawn as ours were.

The range is the prediction interval of a normal law whose mean and variance are unknown: mean ± t s sqrt(1 + 1/n), with t
of n - 1 degrees of freedom. One figure in twenty lies outside by chance.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import t

from paper_repro.paper import Experiment

LEVEL = 0.95
# Fewer seeds say too little of their spread.
SEEDS = 3
# What a record is a repetition of: all of these are the same, and the seed is another.
CASE = ("task", "model", "method", "limit", "steps", "rank", "d", "projection", "rule", "frames", "size")
# What no figure of these can be above; none is below 0.
MOST = {"accuracy": 1.0, "ece": 1.0, "found": 1.0}

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Range:
    """Where a figure of one more seed lies in 95 of 100 cases.

    Attributes:
        case: what was measured, as (field, value).
        measure: name of the figure.
        low, high: the range.
        mean: of our seeds.
        seeds: how many they are.
        settings: that the newest of them had; None where records have none.
    """

    case: tuple[tuple[str, Any], ...]
    measure: str
    low: float
    high: float
    mean: float
    seeds: int
    settings: Any


def case_of(record: Record) -> tuple[tuple[str, Any], ...]:
    """Return what was measured but for the seed, as (field, value)."""
    return tuple((name, record[name]) for name in CASE if record.get(name) is not None)


def ranges(experiment: Experiment, records: Iterable[Record]) -> list[Range]:
    """Return the ranges of an experiment's figures, for each case that has enough seeds.

    Args:
        experiment: whose measures are asked for.
        records: of that experiment, oldest first; of a seed that was measured twice the newest counts.
    """
    groups: dict[tuple[tuple[str, Any], ...], dict[Any, Record]] = {}
    for record in records:
        chosen = not experiment.methods or (
            record["method"] in experiment.methods and record["task"] in experiment.tasks
        )
        if chosen:
            groups.setdefault(case_of(record), {})[record.get("seed")] = record
    found = []
    for case, by_seed in groups.items():
        if len(by_seed) < SEEDS:
            continue
        for measure in experiment.measures:
            values = [record[measure] for record in by_seed.values() if record.get(measure) is not None]
            if len(values) >= SEEDS:
                low, high = interval(values)
                low, high = max(0.0, low), min(MOST.get(measure, math.inf), high)
                settings = [*by_seed.values()][-1].get("settings")
                found.append(Range(case, measure, low, high, statistics.mean(values), len(values), settings))
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return between what one more value lies with probability 0.95; at least two values are needed."""
    n = len(values)
    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * statistics.stdev(values) * math.sqrt(1 + 1 / n)
    return statistics.mean(values) - half, statistics.mean(values) + half


def verdicts(experiment: Experiment, known: Sequence[Record], new: Iterable[Record]) -> list[str]:
    """Say of each new figure whether it lies in the range of the known records: met, not met, or that there is no range.

    Of an experiment none of whose figures a rerun must meet, nothing is said.
    """
    if not experiment.measures:
        return []
    found: dict[Any, list[Range]] = {}
    for one in ranges(experiment, known):
        found.setdefault(one.case, []).append(one)
    lines = []
    for record in new:
        case = case_of(record)
        name = ", ".join([*(str(value) for _, value in case), f"seed {record.get('seed')}"])
        if case not in found:
            lines.append(f"{experiment.name} {name}: no range, since fewer than {SEEDS} seeds were measured before")
        for one in found.get(case, []):
            value = record[one.measure]
            met = "met" if one.low <= value <= one.high else "not met"
            changed = "" if record.get("settings") == one.settings else " (the method's settings have changed since)"
            lines.append(
                f"{experiment.name} {name}: {one.measure} {value:.4g}, expected {one.low:.4g} to {one.high:.4g}: {met}{changed}"
            )
    return lines
