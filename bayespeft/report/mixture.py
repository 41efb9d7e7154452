"""`MixtureReport`: how good laws are of which nothing is known but densities and a mean. Numbers only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bayespeft.errors import DataError
from bayespeft.report.base import Report
from bayespeft.report.bootstrap import mean_intervals
from bayespeft.report.metric import Metric, measured
from bayespeft.report.metrics.examples import as_array
from bayespeft.report.regression_metrics import validate_scores
from bayespeft.utils.annotations import Resamples, Seed
from bayespeft.utils.checks import checked_methods


@checked_methods
@dataclass(frozen=True, slots=True)
class MixtureReport(Report):
    """Metrics of predicted laws of any kind with 95 % bootstrap intervals over examples, and what they cost.

    Attributes:
        nll: mean negative log-likelihood, in nats per example.
        rmse: root mean squared error of the predicted mean, in the labels' units; None where the law has no mean.
        outputs: numbers of one label.
    """

    WHAT: ClassVar[str] = "a report on laws of any kind"
    VIEW: ClassVar[str] = "mixture"

    nll: Metric
    rmse: Metric | None
    outputs: int

    @classmethod
    def from_log_likelihood(
        cls,
        log_likelihood: npt.ArrayLike,
        mean: npt.ArrayLike,
        labels: npt.ArrayLike,
        *,
        seed: Seed = 0,
        resamples: Resamples = 1000,
        **facts: Any,
    ) -> MixtureReport:
        """Measure predictions.

        Args:
            log_likelihood: (n,) log of the averaged probability or density of the labels, nats.
            mean: (n, ...) of the averaged laws; NaN where they have none.
            labels: (n, ...).
            seed: of the bootstrap. The report is a function of the arguments.
            resamples: bootstrap samples.
            facts: the attributes of `Report` from `draws` on.

        Raises:
            DataError: no arrays, other shapes, there is no example, or a log-likelihood is not finite.
            ConfigError: `resamples` is below 1.
        """
        centers, y = as_array(mean, "mean", np.float64), as_array(labels, "labels", np.float64)
        if not y.shape or not len(y) or centers.shape != y.shape:
            raise DataError(
                f"means have shape {centers.shape}, labels {y.shape}: one of each for every example is needed."
            )
        scores = {"nll": -validate_scores(log_likelihood, len(y))}
        if np.isfinite(centers).all():
            scores["rmse"] = ((centers - y) ** 2).reshape(len(y), -1).mean(axis=1)
        found = mean_intervals(scores, resamples=resamples, seed=seed, ranges={"nll": (-np.inf, np.inf)})
        squared = found.get("rmse")
        return cls(
            nll=found["nll"],
            rmse=None if squared is None else squared.through(lambda square: square**0.5),
            n=len(y),
            outputs=int(np.prod(y.shape[1:])),
            **facts,
        )

    @property
    def headline(self) -> str:
        """The NLL, and the error of the mean where there is one."""
        error = "" if self.rmse is None else f", RMSE {measured(self.rmse.value)}"
        return f"NLL {self.nll.value:.3f} nats per example{error} over {self.n:,} examples"
