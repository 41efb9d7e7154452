"""How well a score tells two kinds of examples apart: AUROC, average precision, false positives at 95 % recall.

What is to be found is called positive (an error, or an example of another set); a higher score says "positive". Ties are
groups that a threshold can't part.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.binning import Floats, tie_ends
from bayespeft.report.metrics.examples import as_array

RECALL = 0.95


def auroc(negatives: npt.ArrayLike, positives: npt.ArrayLike) -> float:
    """Return P(a positive's score is above a negative's), ties count half; in [0, 1], 1/2 for no skill.

    The Mann-Whitney statistic over its largest value (Hanley & McNeil 1982, Radiology 143).

    Args:
        negatives: (n,) scores.
        positives: (m,) scores.

    Raises:
        DataError: one of them is no array, is empty, or holds NaN.
    """
    return float(ranked(*_groups(negatives, positives))[0][0])


def average_precision(negatives: npt.ArrayLike, positives: npt.ArrayLike) -> float:
    """Return sum over thresholds, from the highest score, of precision * increase of recall; in (0, 1].

    The area under the precision-recall curve by steps, not by trapezoids, which would be too optimistic (Davis & Goadrich
    2006). No skill gives m / (n + m), so that its value depends on the sizes of the two sets.

    Args, Raises: as `auroc`.
    """
    return float(ranked(*_groups(negatives, positives))[1][0])


def false_positive_rate(negatives: npt.ArrayLike, positives: npt.ArrayLike) -> float:
    """Return FPR95: the share of negatives that is flagged by the highest threshold that flags 95 % of positives.

    Args, Raises: as `auroc`.
    """
    return float(ranked(*_groups(negatives, positives))[2][0])


def ranked(found: Floats, false: Floats) -> tuple[Floats, Floats, Floats]:
    """Return AUROC, average precision and FPR95 in each resample, (R,) each.

    Args:
        found: (R, G + 1) positives among the first 0, 1, ..., G groups of equal scores, highest score first.
        false: (R, G + 1) the same of negatives.

    Returns:
        NaN where there are no positives, for AUROC and FPR95 also where there are no negatives.
    """
    positives, m, n = np.diff(found, axis=1), found[:, -1], false[:, -1]
    flagged = found[:, 1:] + false[:, 1:]
    precision = np.divide(found[:, 1:], flagged, out=np.zeros_like(flagged), where=flagged > 0)
    first = (found >= RECALL * m[:, None] - 1e-9).argmax(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = (positives * (false[:, 1:] + false[:, :-1])).sum(axis=1) / (2 * m * n)
        area = (positives * precision).sum(axis=1) / m
        rate = np.where(m > 0, np.take_along_axis(false, first[:, None], axis=1)[:, 0] / n, np.nan)
    return 1 - below, area, rate


def order(negatives: npt.ArrayLike, positives: npt.ArrayLike) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Return how to sort the two sets, one after the other, by falling score, and where groups of equal scores begin.

    Raises:
        DataError: see `auroc`.
    """
    parts = []
    for name, values in {"negative": negatives, "positive": positives}.items():
        parts.append(as_array(values, f"scores of the {name} examples", np.float64).ravel())
        if not len(parts[-1]) or np.isnan(parts[-1]).any():
            raise DataError(f"scores of the {name} examples: at least one is needed, and none may be NaN.")
    scores = np.concatenate(parts)
    found = np.argsort(-scores, kind="stable")
    return found, np.concatenate([[0], tie_ends(scores[found])[:-1] + 1])


def _groups(negatives: npt.ArrayLike, positives: npt.ArrayLike) -> tuple[Floats, Floats]:
    found, starts = order(negatives, positives)
    positive = np.concatenate([[0.0], np.cumsum(found >= np.asarray(negatives).size)])
    edges = np.append(starts, len(found))
    return positive[None, edges], (edges - positive[edges])[None]
