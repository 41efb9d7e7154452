"""Figures of each class, and which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayespeft.report.binning import Floats, Ints
from bayespeft.report.metric import Metric
from bayespeft.report.proportions import proportion

MOST = 30
"""Classes that a report tells apart; with more there are no such tables."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """How one class fares.

    Attributes:
        name: as the data calls it, or its number.
        n: rows of this class.
        predicted: rows that were taken for it.
        recall: share of its rows that were found; None where it has none.
        precision: share of right answers among those it was given for; None where it never was.
        claimed: mean probability of the class over all rows: of a calibrated model that of its rows, n / all.
    """

    name: str
    n: int
    predicted: int
    recall: Metric | None
    precision: Metric | None
    claimed: float


@dataclass(frozen=True, slots=True)
class Classes:
    """Figures of all classes.

    Attributes:
        figures: of each.
        confusion: rows of class i that were taken for class j, as confusion[i][j].
    """

    figures: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]


def by_class(probs: Floats, labels: Ints, names: Sequence[str] = ()) -> Classes | None:
    """Measure each class; None of more than `MOST`.

    Args:
        probs: (n, K).
        labels: (n,).
        names: of the classes; numbers where there are none.
    """
    classes = probs.shape[1]
    if classes > MOST:
        return None
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, probs.argmax(axis=1)), 1)
    own, given, hits = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    figures = tuple(
        ClassFigures(
            name=str(names[k]) if k < len(names) else str(k),
            n=int(own[k]),
            predicted=int(given[k]),
            recall=proportion(float(hits[k] / own[k]), int(own[k])) if own[k] else None,
            precision=proportion(float(hits[k] / given[k]), int(given[k])) if given[k] else None,
            claimed=float(probs[:, k].mean()),
        )
        for k in range(classes)
    )
    return Classes(figures, tuple(tuple(int(count) for count in row) for row in counts))
