"""Figures of each class, and which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayespeft.report.binning import Ints
from bayespeft.report.clustered import Ratio, fraction
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.examples import Scores
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


def by_class(scores: Scores, names: Sequence[str] = (), owner: Ints | None = None) -> Classes | None:
    """Measure each class; None of more than `MOST`.

    Args:
        scores: of n examples.
        names: of the classes; numbers where there are none.
        owner: (n,) which row each is of, where several are of one and err together; see `clustered`.
    """
    classes = scores.classes
    if classes > MOST:
        return None
    labels, top, probs = scores.labels, scores.predicted, scores.probs
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, top), 1)
    own, given = counts.sum(axis=1), counts.sum(axis=0)
    figures = tuple(
        ClassFigures(
            name=str(names[k]) if k < len(names) else str(k),
            n=int(own[k]),
            predicted=int(given[k]),
            recall=_share((labels == k) & (top == k), labels == k, owner),
            precision=_share((labels == k) & (top == k), top == k, owner),
            claimed=float(probs[:, k].mean()),
        )
        for k in range(classes)
    )
    return Classes(figures, tuple(tuple(int(count) for count in row) for row in counts))


def _share(hits: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_], owner: Ints | None) -> Metric | None:
    """Return the share of hits among some; None of none."""
    if owner is not None:
        part, whole = (np.bincount(owner, mask).astype(np.float64) for mask in (hits, among))
        return fraction(Ratio(part, whole))
    n = int(among.sum())
    return proportion(float(hits.sum() / n), n) if n else None
