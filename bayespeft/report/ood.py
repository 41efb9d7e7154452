"""Does uncertainty tell examples of another kind from those of the test set? One row for each other set and score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.binning import Floats
from bayespeft.report.detection_intervals import alarm_interval, precision_interval
from bayespeft.report.making import check_made_alike, making_of
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.detection import auroc
from bayespeft.report.predictions import ClassPrediction, check_alike
from bayespeft.report.ranks import rank_interval

BINS = 25
CONSEQUENCE = (
    "uncertainties are compared between predictions of one posterior and the same classes with the same draws."
)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Shares of both sets' examples in equal bins of a score from `low` to `high`.

    Attributes:
        low, high: ends of the bins: the least and the largest score of both.
        inside: of the test set.
        outside: of the other set.
    """

    low: float
    high: float
    inside: tuple[float, ...]
    outside: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Separation:
    """How well one score of uncertainty tells one other set from the test set. The other set's examples are the positives.

    Attributes:
        data: name of the other set.
        score: "max_probability" (less of it is more uncertain), "entropy" or "mutual_information".
        n: examples of the other set.
        auroc: P(one of the other set is more uncertain than one of the test set), ties count half; 1/2 is no skill.
        aupr: average precision; no skill gives n / (n + size of the test set).
        fpr95: share of the test set that is flagged where 95 % of the other set are. Fewer than 72 examples of that set can't
            bound their threshold from below, and the interval then ends at 1.
        overlap: how the scores of both are spread; None where a score is infinite.
    """

    data: str
    score: str
    n: int
    auroc: Metric
    aupr: Metric
    fpr95: Metric
    overlap: Overlap | None = None


def uncertainty(prediction: ClassPrediction) -> dict[str, Floats]:
    """Return the scores of a prediction by name, (n,) each, higher is more uncertain.

    Mutual information needs two draws at least; without them it is left out.
    """
    scores = {"max_probability": -prediction.log_probs.amax(-1).exp(), "entropy": prediction.entropy}
    if prediction.draws > 1:
        scores["mutual_information"] = prediction.mutual_information
    return {name: score.numpy() for name, score in scores.items()}


def separate(test: ClassPrediction, others: Mapping[str, Any]) -> tuple[Separation, ...]:
    """Compare predictions of other sets with that of the test set; arguments and errors as `separations`.

    Raises:
        ConfigError: also where the numbers of draws or classes differ: entropy goes by the number of classes, and the mutual
            information is biased by an amount that goes by the number of draws; or where others made them, as far as is known.
    """
    for name, prediction in others.items():
        check_alike(
            f"set {name!r}", "the test set", draws=(prediction.draws, test.draws),
            classes=(prediction.log_probs.shape[-1], test.log_probs.shape[-1]),
            consequence=CONSEQUENCE,
        )  # fmt: skip
        check_made_alike(
            f"set {name!r}", "the test set", making_of(prediction), making_of(test), consequence=CONSEQUENCE
        )
    scores = {name: uncertainty(prediction) for name, prediction in others.items()}
    return separations(uncertainty(test), scores)


def separations(
    inside: Mapping[str, npt.ArrayLike], others: Mapping[str, Mapping[str, npt.ArrayLike]]
) -> tuple[Separation, ...]:
    """Compare each other set with the test set by each score, with the 95 % intervals of `ranks` and `detection_intervals`.

    Args:
        inside: score -> (n,) of the test set; higher is more uncertain.
        others: name -> score -> (m,), with the same scores.

    Raises:
        DataError: a set has no example, other scores, or NaN among them.
    """
    rows: list[Separation] = []
    for name, scores in others.items():
        if scores.keys() != inside.keys():
            raise DataError(f"set {name!r} has the scores {sorted(scores)}; the test set has {sorted(inside)}.")
        for score, own in inside.items():
            negatives, positives = (np.asarray(values, dtype=np.float64).ravel() for values in (own, scores[score]))
            n, m = len(negatives), len(positives)
            rows.append(
                Separation(
                    name, score, m, rank_interval(auroc(negatives, positives), m, n),
                    precision_interval(negatives, positives), alarm_interval(negatives, positives),
                    _overlap(negatives, positives),
                )
            )  # fmt: skip
    return tuple(rows)


def _overlap(inside: Floats, outside: Floats) -> Overlap | None:
    sets = inside, outside
    both = np.concatenate(sets)
    if not np.isfinite(both).all():
        return None
    low, high = float(both.min()), float(both.max())
    if high - low < 1e-9:  # one value, up to rounding
        low, high = low - 0.5, high + 0.5
    shares = [np.histogram(values, BINS, (low, high))[0] / len(values) for values in sets]
    return Overlap(low, high, *(tuple(map(float, share)) for share in shares))
