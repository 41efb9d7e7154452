"""Sets of labels that hold all the labels of an example as often as promised, fitted on validation data.

The score of an example is 1 - p of the least probable of its labels (0 where it has none); its set holds all labels whose 1 - p
is at most the `quantile` of the scores. If validation examples and the new one are exchangeable, the set holds every label of
the new one with a probability of at least 1 - alpha: the split conformal sets of `metrics.conformal`, with nested sets. A
quantile for each label, of the examples that have it, promises that for each label by itself instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from bayespeft.data.columns import missing_labels
from bayespeft.errors import ConfigError
from bayespeft.report.binning import Floats
from bayespeft.report.bootstrap import mean_intervals
from bayespeft.report.conformal import PROMISE, Per, check_per
from bayespeft.report.json_report import JsonReport
from bayespeft.report.making import Making, check_made_alike, making_of
from bayespeft.report.metric import Metric
from bayespeft.report.metrics.conformal import group_quantiles, quantile
from bayespeft.report.predictions import LabelsPrediction, Predictor, check_alike
from bayespeft.report.proportions import proportion
from bayespeft.utils.annotations import ELSEWHERE, Resamples
from bayespeft.utils.checks import checked_methods


@dataclass(frozen=True, slots=True)
class LabelSetsReport(JsonReport):
    """How sets of labels did on labelled data, with 95 % intervals: exact of shares, by resampling examples of the size.

    Attributes:
        coverage: share of examples all of whose labels are in their sets.
        size: mean number of labels in a set.
        by_label: share of the examples that have a label whose sets hold it; None of one that nobody has.
        target: 1 - alpha.
        per: whether the promise is for "all" labels of an example, or for each ("class").
        n: examples.
        validation: examples that the sets were fitted on.
    """

    WHAT: ClassVar[str] = "a report on conformal sets of labels"

    coverage: Metric
    size: Metric
    by_label: tuple[Metric | None, ...]
    target: float
    per: str
    n: int
    validation: int

    def __str__(self) -> str:
        promised = "each label" if self.per == "class" else "that"
        return (
            f"Sets of {self.size.value:.2f} labels [{self.size.low:.2f}, {self.size.high:.2f}] on average hold all labels of "
            f"{100 * self.coverage.value:.1f} % [{100 * self.coverage.low:.1f}, {100 * self.coverage.high:.1f}] of {self.n:,} "
            f"examples (promised of {promised}: {100 * self.target:.4g} %, fitted on {self.validation:,})"
        )


@checked_methods
@dataclass(frozen=True)
class ConformalLabels:
    """Conformal sets of labels of one posterior; made by `Posterior.conformal`.

    Attributes:
        alpha: probability that a set misses a label of its example, at most.
        threshold: sets hold the labels whose 1 - p is at most this, one number or (K,); infinity where there are too few
            validation examples to leave anything out.
        validation: number of examples it was fitted on.
        draws: of the validation data's prediction.
        labels: K.
        predictor: predicts other data, with the settings that the validation data was predicted with.
        making: of the validation data's prediction, where that is known.
    """

    alpha: float
    threshold: float | Floats
    validation: int
    draws: int
    labels: int
    predictor: Predictor = field(repr=False)
    making: Making | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls,
        prediction: LabelsPrediction,
        predictor: Predictor,
        *,
        alpha: Annotated[float, ELSEWHERE] = 0.1,
        per: Per = "all",
    ) -> ConformalLabels:
        """Fit the threshold on a labelled prediction; `predictor` has the same draws, seed and sampling.

        Raises:
            ConfigError: alpha or per can't be used, or it is no prediction of labels. DataError: there are no labels.
        """
        if not isinstance(prediction, LabelsPrediction):
            raise ConfigError(
                f"sets of labels are fitted on a prediction of labels, not on a {type(prediction).__name__}."
            )
        check_per(per)
        misfit, y = 1 - prediction.probs.numpy(), _labels(prediction)
        threshold: float | Floats
        if per == "all":
            threshold = quantile(np.where(y, misfit, 0.0).max(axis=1), alpha)
        else:
            threshold = group_quantiles((misfit[y[:, k], k] for k in range(y.shape[1])), alpha)
        return cls(alpha, threshold, len(y), prediction.draws, y.shape[1], predictor, making_of(prediction))

    def sets(self, data: Any) -> npt.NDArray[np.bool_]:
        """Return which labels are in each example's set, (n, K).

        Args:
            data: as for `Posterior.predict`, or its result with the draws, seed and sampling of the validation data's.

        Raises:
            ConfigError: it is predicted with another number of draws or labels than the validation data, or, as far as is
                known, by another posterior, temperature, sampling or seed.
        """
        found: npt.NDArray[np.bool_] = 1 - self._prediction(data).probs.numpy() <= self.threshold
        return found

    def report(self, data: Any, *, resamples: Resamples = 1000) -> LabelSetsReport:
        """Measure coverage and size on labelled data, which is not the validation data.

        Args:
            data: as for `sets`, with labels.
            resamples: bootstrap samples.

        Raises:
            DataError: there are no labels. ConfigError: as `sets`.
        """
        prediction = self._prediction(data)
        y, sets = _labels(prediction), self.sets(prediction)
        sizes = mean_intervals(
            {"size": sets.sum(axis=1).astype(np.float64)}, resamples=resamples, ranges={"size": (0.0, self.labels)}
        )
        return LabelSetsReport(
            coverage=proportion(float((sets | ~y).all(axis=1).mean()), len(y)),
            size=sizes["size"],
            by_label=tuple(
                proportion(float(sets[own, k].mean()), int(own.sum())) if (own := y[:, k]).any() else None
                for k in range(self.labels)
            ),
            target=1 - self.alpha,
            per="all" if isinstance(self.threshold, float) else "class",
            n=len(y),
            validation=self.validation,
        )

    def _prediction(self, data: Any) -> LabelsPrediction:
        found = data if isinstance(data, LabelsPrediction) else self.predictor.predict(data)
        check_alike(
            "data", "validation data", draws=(found.draws, self.draws), labels=(found.probs.shape[-1], self.labels),
            consequence=PROMISE,
        )  # fmt: skip
        check_made_alike("data", "validation data", making_of(found), self.making, consequence=PROMISE)
        return found


def _labels(prediction: LabelsPrediction) -> npt.NDArray[np.bool_]:
    if prediction.labels is None:
        raise missing_labels("a conformal set")
    found: npt.NDArray[np.bool_] = prediction.labels.numpy() == 1
    return found
