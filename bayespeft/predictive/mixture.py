"""Any law: the equal mixture over draws of what the likelihood says under each, of which mean and variance are kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.predictive.average import Average, Cost, Rows, refuse_broken
from bayespeft.predictive.base import FIGURES_ALONE, Details, Prediction
from bayespeft.predictive.moments import Moments
from bayespeft.report.mixture import MixtureReport
from bayespeft.utils.checks import checked_methods

Law = Callable[[Tensor], Distribution]
"""Outputs (n, ...) -> the law of n labels."""


@checked_methods
@dataclass(frozen=True, kw_only=True, repr=False)
class MixturePredictive(Prediction):
    """Predictive law of n labels of any kind, the mixture over draws s of p(y | outputs_s), with equal weights.

    Attributes:
        labels: (n, ...) as the likelihood observes them, or None where the data has none.
        mean: (n, ...) float64, of the mixture; NaN where the law has none.
        epistemic: (n, ...) float64, variance over draws of the mean under each: what more data could remove.
        aleatoric: (n, ...) float64, mean over draws of the variance under each; NaN or infinity where the law has none.
        log_likelihood: (n,) float64, log of the averaged probability or density of the labels, nats; None without labels.
    """

    shown: ClassVar[tuple[str, ...]] = ("mean", "epistemic", "aleatoric")

    mean: Tensor
    epistemic: Tensor
    aleatoric: Tensor
    log_likelihood: Tensor | None = None

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def variance(self) -> Tensor:
        """(n, ...) variance of a label: epistemic + aleatoric."""
        return self.epistemic + self.aleatoric

    def report(self, details: Details = FIGURES_ALONE, **facts: Any) -> MixtureReport:
        """Return a report on NLL and mean; arguments as the base."""
        labels = self._labelled()
        assert self.log_likelihood is not None
        return MixtureReport.from_log_likelihood(
            self.log_likelihood.numpy(), self.mean.numpy(), labels.double().numpy(), **self.cost, **facts
        )

    def validation_metrics(self) -> dict[str, float]:
        """Return NLL and RMSE of the mean."""
        return {**super().validation_metrics(), "rmse": float((self.mean - self._labelled()).square().mean().sqrt())}


class MixtureAverage(Average):
    """Mixes the laws of draws.

    Args:
        n: examples.
        keep: keep each draw's mean, (draws, n, ...).
        law: what outputs (m, ...) say of m labels.
    """

    def __init__(self, n: int, keep: bool, law: Law) -> None:
        super().__init__(n, keep)
        self._law = law
        self._means, self._variances = Moments(n), Moments(n)
        self._log_sum = torch.full((n,), -math.inf, dtype=torch.float64)
        self._broken = torch.zeros(n, dtype=torch.bool)

    def add(self, outputs: Tensor, rows: Rows, first: int) -> None:
        """Add outputs (draws, rows, ...); arguments as the base."""
        law, shape = self._law(outputs.flatten(0, 1)), outputs.shape[:2]
        mean, variance = (
            (found := _moment(law, name).double()).reshape(*shape, *found.shape[1:]) for name in ("mean", "variance")
        )
        self._means.add(mean, rows.index)
        self._variances.add(variance, rows.index)
        self._broken[rows.index] |= outputs.isnan().flatten(2).any(-1).any(0)
        self._note(mean, rows, first)
        if rows.labels is not None:
            value = rows.labels.expand(shape[0], *rows.labels.shape).flatten(0, 1)
            scores = law.log_prob(value).double().reshape(shape)
            self._log_sum[rows.index] = torch.logaddexp(self._log_sum[rows.index], torch.logsumexp(scores, 0))
            self._score(scores, rows, first)

    def result(self, cost: Cost, unit: int | None = None) -> MixturePredictive:
        """Return the mixture; arguments and errors as the base."""
        refuse_broken(self._broken)
        return MixturePredictive(
            mean=self._means.mean,
            epistemic=self._means.variance(self.draws),
            aleatoric=self._variances.mean,
            log_likelihood=None if self.labels is None else self._log_sum - math.log(self.draws),
            **self._stated(cost, unit),
        )


def _moment(law: Distribution, name: str) -> Tensor:
    """Return mean or variance of a law; NaN where it says neither."""
    try:
        found: Tensor = getattr(law, name)
    except NotImplementedError:
        found = torch.full(law.batch_shape + law.event_shape, math.nan)
    return found
