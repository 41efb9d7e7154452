"""d90 from measured accuracies: the least d with nine tenths of the accuracy of training all weights.

The d's that were tried are few, so that the least of them is an upper bound of d90. Accuracies are means over seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from paper_repro.text import TITLES

SHARE = 0.9
Records = Sequence[Mapping[str, Any]]


def by_projection(records: Records) -> dict[str, int | None]:
    """Return the least d that reaches `SHARE`, by projection; None where none that was tried does.

    Args:
        records: with projection, d, seed and accuracy; projection "all" is training all weights.
    """
    newest = {(r["projection"], r["d"], r["seed"]): r["accuracy"] for r in records}

    def mean(projection: str, d: int) -> float:
        return statistics.mean(a for (p, size, _), a in newest.items() if (p, size) == (projection, d))

    enough = SHARE * mean("all", 0)
    found: dict[str, int | None] = {}
    for projection in dict.fromkeys(p for p, _, _ in newest if p != "all"):
        tried = sorted({d for p, d, _ in newest if p == projection})
        found[projection] = next((d for d in tried if mean(projection, d) >= enough), None)
    return found


def full(records: Records) -> int:
    """Return how many numbers training all weights trains."""
    return int(next(r["trainable"] for r in records if r["projection"] == "all"))


def said(records: Records) -> str:
    """Return the least d of each projection in words."""
    most = {p: max(r["d"] for r in records if r["projection"] == p) for p in {r["projection"] for r in records}}
    return " and ".join(
        f"{f'more than {most[projection]}' if d is None else d} ({projection})"
        for projection, d in by_projection(records).items()
    )


def held(records: Records) -> str:
    """Say whether few numbers, a tenth of all at most, reached it by Fastfood: yes, no, or that no d that was tried did."""
    d = by_projection(records).get("fastfood")
    return "not by those tried" if d is None else "yes" if 10 * d <= full(records) else "no"


def sentence(records: Records) -> str:
    """Return what a page says below the table; "" where nothing was measured."""
    if not records:
        return ""
    named = f" on {TITLES.get(records[0]['task'], records[0]['task'])}" if "task" in records[0] else ""
    reached = f"{said(records)} of {full(records):,}"
    return f"\n\nThe least d of these with nine tenths of full training's accuracy{named}: {reached}."


def by_task(records: Records) -> Iterator[tuple[str, Records]]:
    """Yield each task's title and records."""
    for task in dict.fromkeys(r["task"] for r in records):
        yield TITLES.get(task, task), [r for r in records if r["task"] == task]
