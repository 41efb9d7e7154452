"""Does uncertainty tell examples of another kind from those of the test set? One row for each other set and score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayespeft.errors import ConfigError, DataError
from bayespeft.report.binning import Floats
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.detection import order, ranked
from bayespeft.report.metrics.intervals import percentile
from bayespeft.report.predictions import ClassPrediction, check_alike
from bayespeft.report.ranks import rank_interval

FIGURES = ("auroc", "aupr", "fpr95")
BINS = 25


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
        fpr95: share of the test set that is flagged where 95 % of the other set are.
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


def separate(
    test: ClassPrediction, others: Mapping[str, Any], *, resamples: int = 1000, seed: int = 0
) -> tuple[Separation, ...]:
    """Compare predictions of other sets with that of the test set; arguments and errors as `separations`.

    Raises:
        ConfigError: also where the numbers of draws or classes differ: entropy goes by the number of classes, and the mutual
            information is biased by an amount that goes by the number of draws.
    """
    for name, prediction in others.items():
        check_alike(
            f"set {name!r}", "the test set", draws=(prediction.draws, test.draws),
            classes=(prediction.log_probs.shape[-1], test.log_probs.shape[-1]),
            consequence="uncertainties are compared between predictions of the same classes with the same draws.",
        )  # fmt: skip
    scores = {name: uncertainty(prediction) for name, prediction in others.items()}
    return separations(uncertainty(test), scores, resamples=resamples, seed=seed)


def separations(
    inside: Mapping[str, npt.ArrayLike],
    others: Mapping[str, Mapping[str, npt.ArrayLike]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Separation, ...]:
    """Compare each other set with the test set by each score, with 95 % intervals: of AUROCs `rank_interval`'s, else resampled.

    Args:
        inside: score -> (n,) of the test set; higher is more uncertain.
        others: name -> score -> (m,), with the same scores.
        resamples: bootstrap samples, drawn anew from either set.
        seed: the result is a function of the scores and of this.

    Raises:
        DataError: a set has no example, other scores, or NaN among them. ConfigError: `resamples` is below 1.
    """
    rows: list[Separation] = []
    for name, scores in others.items():
        if scores.keys() != inside.keys():
            raise DataError(f"set {name!r} has the scores {sorted(scores)}; the test set has {sorted(inside)}.")
        places = [_Places.of(inside[score], scores[score]) for score in inside]
        figures = _figures(places, resamples, seed)
        rows += [
            Separation(name, score, places[0].m, *own, _overlap(inside[score], scores[score]))
            for score, own in zip(inside, figures, strict=True)
        ]
    return tuple(rows)


def _overlap(inside: npt.ArrayLike, outside: npt.ArrayLike) -> Overlap | None:
    sets = [np.asarray(values, dtype=np.float64).ravel() for values in (inside, outside)]
    both = np.concatenate(sets)
    if not np.isfinite(both).all():
        return None
    low, high = float(both.min()), float(both.max())
    if high - low < 1e-9:  # one value, up to rounding
        low, high = low - 0.5, high + 0.5
    shares = [np.histogram(values, BINS, (low, high))[0] / len(values) for values in sets]
    return Overlap(low, high, *(tuple(map(float, share)) for share in shares))


@dataclass(frozen=True)
class _Places:
    """The group of equal scores that each example is in, highest first: of n negatives, then m positives; G groups."""

    groups: npt.NDArray[np.intp]
    n: int
    m: int
    size: int

    @classmethod
    def of(cls, negatives: npt.ArrayLike, positives: npt.ArrayLike) -> _Places:
        found, starts = order(negatives, positives)
        groups = np.empty(len(found), dtype=np.intp)
        groups[found] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(found))))
        n = np.asarray(negatives).size
        return cls(groups, n, len(found) - n, len(starts))

    def figures(self, negatives: Floats, positives: Floats) -> Floats:
        """Return `FIGURES` where examples count as often as stated, (n,) and (m,)."""
        found = np.cumsum(np.bincount(self.groups[self.n :] + 1, positives, self.size + 1), dtype=np.float64)
        false = np.cumsum(np.bincount(self.groups[: self.n] + 1, negatives, self.size + 1), dtype=np.float64)
        return np.concatenate(ranked(found[None], false[None]))


def _figures(places: list[_Places], resamples: int, seed: int) -> list[tuple[Metric, Metric, Metric]]:
    """The figures of each score, from the same resamples."""
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}: the bootstrap needs at least 1 (usual: 1000).")
    rng = np.random.default_rng(seed)
    n, m = places[0].n, places[0].m
    values = np.stack([place.figures(np.ones(n), np.ones(m)) for place in places])
    draws = np.empty((resamples, len(places), len(FIGURES)))
    for row in draws:
        inside, outside = (np.bincount(rng.integers(0, k, k), minlength=k).astype(np.float64) for k in (n, m))
        row[:] = [place.figures(inside, outside) for place in places]
    rows = []
    for i in range(len(places)):
        aupr, fpr95 = (percentile(float(values[i, j]), draws[:, i, j], 0.95) for j in (1, 2))
        rows.append((rank_interval(float(values[i, 0]), m, n), aupr, fpr95))
    return rows
