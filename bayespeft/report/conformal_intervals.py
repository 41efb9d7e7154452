"""Intervals of quantities that hold the target as often as promised, fitted on validation data.

The predictive law's own central interval [l, h] of level 1 - alpha is too narrow or too wide by as much as the law is wrong.
Conformalised quantile regression (Romano et al. 2019, arXiv 1905.03222) adds a margin that validation data calls for, here in
units of the interval's own width, so that it goes with each example (CQR-r: Sesia & Candès 2020, arXiv 1909.05433):

    score = max over outputs of max(l - y, y - h) / (h - l),        interval = [l - q (h - l), h + q (h - l)]

with the `quantile` q of the scores. If validation examples and the new one are exchangeable, all d targets of an example lie in
their intervals together with a probability of at least 1 - alpha, whatever the law. q may be negative.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from bayespeft.data.columns import missing_labels
from bayespeft.report.binning import Floats
from bayespeft.report.json_report import JsonReport
from bayespeft.report.making import Making, check_made_alike, making_of
from bayespeft.report.metric import Metric, measured
from bayespeft.report.metrics.conformal import check_alpha, quantile
from bayespeft.report.predictions import Predictor, QuantityPrediction, check_alike
from bayespeft.report.proportions import proportion
from bayespeft.report.regression_metrics import quantile as law_quantile

PROMISE = "intervals keep their promise for predictions of one posterior with the same draws, seed and sampling."


@dataclass(frozen=True, slots=True)
class IntervalReport(JsonReport):
    """How intervals did on labelled data.

    Attributes:
        coverage: share of examples whose targets all lie in their intervals, with its exact 95 % interval over examples.
        unadjusted: the same of the predictive law's own intervals.
        width: mean width of the intervals, in the targets' units.
        target: 1 - alpha.
        n: examples.
        validation: examples that the margin was fitted on.
    """

    WHAT: ClassVar[str] = "a report on conformal intervals"

    coverage: Metric
    unadjusted: Metric
    width: float
    target: float
    n: int
    validation: int

    def __str__(self) -> str:
        low, high = 100 * self.coverage.low, 100 * self.coverage.high
        return (
            f"Intervals of mean width {measured(self.width)} hold the targets of {100 * self.coverage.value:.1f} % [{low:.1f}, "
            f"{high:.1f}] of {self.n:,} examples (promised: {100 * self.target:.4g} %, fitted on {self.validation:,}; the "
            f"predictive law's own hold {100 * self.unadjusted.value:.1f} %)"
        )


@dataclass(frozen=True)
class ConformalIntervals:
    """Conformal intervals of one posterior; made by `Posterior.conformal`.

    Attributes:
        alpha: probability that a target of an example lies outside, at most.
        margin: q, added at both ends, in units of the width of the law's own interval; infinity where there are too few
            validation examples.
        validation: number of examples it was fitted on.
        draws: of the validation data's prediction.
        outputs: d.
        predictor: predicts other data that kept its draws, with the settings that the validation data was predicted with.
        making: of the validation data's prediction, where that is known.
    """

    alpha: float
    margin: float
    validation: int
    draws: int
    outputs: int
    predictor: Predictor = field(repr=False)
    making: Making | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls,
        prediction: QuantityPrediction,
        predictor: Predictor,
        *,
        alpha: float = 0.1,
    ) -> ConformalIntervals:
        """Fit the margin on a labelled prediction that kept its draws; `predictor` has the same draws, seed and sampling.

        Raises:
            ConfigError: alpha can't be used, or draws were not kept. DataError: there are no labels.
        """
        check_alpha(alpha)
        low, high = _central(prediction, alpha)
        labels = _labels(prediction)
        scores = (np.maximum(low - labels, labels - high) / (high - low)).max(axis=1)
        outputs = labels.shape[1]
        margin = quantile(scores, alpha)
        return cls(alpha, margin, len(labels), prediction.draws, outputs, predictor, making_of(prediction))

    def intervals(self, data: Any) -> tuple[Floats, Floats]:
        """Return the lower and the upper ends, (n, d) each.

        Args:
            data: as for `Posterior.predict`, or its result with the draws, seed and sampling of the validation data's, kept.

        Raises:
            ConfigError: it is predicted with another number of draws or outputs than the validation data, or, as far as is
                known, by another posterior, sampling or seed; or draws were not kept.
        """
        low, high = _central(self._prediction(data), self.alpha)
        wider = self.margin * (high - low)
        return low - wider, high + wider

    def report(self, data: Any) -> IntervalReport:
        """Measure coverage and width on labelled data, which is not the validation data; as `intervals`.

        Raises:
            DataError: there are no labels; ConfigError: as `intervals`.
        """
        prediction = self._prediction(data)
        labels = _labels(prediction)
        low, high = self.intervals(prediction)
        n = len(labels)
        shares = [
            float(((a <= labels) & (labels <= b)).all(axis=1).mean())
            for a, b in ((low, high), _central(prediction, self.alpha))
        ]
        covered, unadjusted = (proportion(share, n) for share in shares)
        return IntervalReport(covered, unadjusted, float((high - low).mean()), 1 - self.alpha, n, self.validation)

    def _prediction(self, data: Any) -> QuantityPrediction:
        found = data if isinstance(data, QuantityPrediction) else self.predictor.predict(data)
        check_alike(
            "data", "validation data", draws=(found.draws, self.draws), outputs=(found.mean.shape[-1], self.outputs),
            consequence=PROMISE,
        )  # fmt: skip
        check_made_alike("data", "validation data", making_of(found), self.making, consequence=PROMISE)
        return found


def _central(prediction: QuantityPrediction, alpha: float) -> tuple[Floats, Floats]:
    """The predictive law's own central intervals of level 1 - alpha, (n, d) each."""
    means, stds = (part.numpy() for part in prediction.components())
    return law_quantile(alpha / 2, means, stds), law_quantile(1 - alpha / 2, means, stds)


def _labels(prediction: QuantityPrediction) -> Floats:
    if prediction.labels is None:
        raise missing_labels("a conformal interval")
    labels: Floats = prediction.labels.double().numpy()
    return labels
