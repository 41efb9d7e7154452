"""How often intervals held the truth over simulated samples, written as one record for each figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bayespeft.report.metric import Metric
from paper_repro.results import append

Figures = Iterable[tuple[str, Metric | None]]


def measure(experiment: str, truth: Mapping[str, float], samples: Iterable[Figures], **facts: Any) -> None:
    """Append, for each figure, the share of intervals that held its truth, and their mean width.

    A figure that has no interval in some samples is counted over those that have one (`repeats`), and left out if
    none has.

    Args:
        experiment: of the results file.
        truth: name of a figure -> its value in the population.
        samples: the figures of each simulated sample.
        facts: what was simulated.
    """
    held: dict[str, list[bool]] = {name: [] for name in truth}
    widths: dict[str, list[float]] = {name: [] for name in truth}
    count = 0
    for figures in samples:
        count += 1
        for name, metric in figures:
            if metric is not None:
                held[name].append(metric.low <= truth[name] <= metric.high)
                widths[name].append(metric.high - metric.low)
    for name, hits in ((name, hits) for name, hits in held.items() if hits):
        append(
            experiment, **facts, figure=name, truth=round(truth[name], 5), samples=count, repeats=len(hits),
            held=round(float(np.mean(hits)), 4), width=round(float(np.mean(widths[name])), 4),
        )  # fmt: skip
