"""Quantities: an equal mixture of normals, one for each draw; one normal, in closed form, for a linearised network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.predictive.average import Average, Cost, GaussianAverage, Rows, refuse_broken
from bayespeft.predictive.base import FIGURES_ALONE, Details, Prediction, Use
from bayespeft.predictive.moments import Moments
from bayespeft.report.conformal_intervals import ConformalIntervals
from bayespeft.report.decision import Decision, decide_quantities
from bayespeft.report.predictions import Predictor
from bayespeft.report.regression import RegressionReport
from bayespeft.utils.checks import checked_methods


@checked_methods
@dataclass(frozen=True, kw_only=True, repr=False)
class RegressionPredictive(Prediction):
    """Predictive law of d targets for each of n examples, in the targets' units.

    It is the mixture over draws s of N(f_s, noise^2), with equal weights; where nothing was drawn (`draws` is 0: the
    posterior mean, or a linearised network) it is N(mean, epistemic + noise^2).

    Attributes:
        mean: (n, d) float64.
        epistemic: (n, d) float64, variance of f over the posterior: what more data could remove.
        noise: standard deviation of a target around f, the same for all.
        labels: (n, d) float32, or None where the data has none.
        log_likelihood: (n,) float64, log of the averaged joint density of all d targets, nats; None without labels.
        draw_means: (draws, n, d) float32, f of each draw; only where asked for, and where something was drawn.
    """

    uses: ClassVar[frozenset[Use]] = frozenset({"conformal", "decide"})
    shown: ClassVar[tuple[str, ...]] = ("mean", "epistemic", "std")
    # The quantiles of a mixture need its components.
    keeps_draws: ClassVar[bool] = True

    mean: Tensor
    epistemic: Tensor
    noise: float
    log_likelihood: Tensor | None = None
    draw_means: Tensor | None = None

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def aleatoric(self) -> float:
        """noise^2: the variance that no data can remove."""
        return self.noise**2

    @property
    def variance(self) -> Tensor:
        """(n, d) variance of a target: epistemic + aleatoric."""
        return self.epistemic + self.aleatoric

    @property
    def std(self) -> Tensor:
        """(n, d) standard deviation of a target."""
        return self.variance.sqrt()

    def components(self) -> tuple[Tensor, Tensor]:
        """Return means (S, n, d) and standard deviations (1, n, d) of the normals that each target's law is made of.

        Raises:
            ConfigError: several draws were averaged and not kept.
        """
        if self.draw_means is not None:
            return self.draw_means.double(), torch.full_like(self.mean, self.noise).unsqueeze(0)
        if self.draws > 1:
            raise ConfigError(f"the {self.draws} draws were averaged and not kept: predict with keep_draws=True.")
        return self.mean.unsqueeze(0), self.std.unsqueeze(0)

    def report(self, details: Details = FIGURES_ALONE, **facts: Any) -> RegressionReport:
        """Return a regression report; arguments as the base. Draws must have been kept."""
        labels = self._labelled()
        assert self.log_likelihood is not None
        means, stds = self.components()
        return RegressionReport.from_mixture(
            means.numpy(),
            stds.numpy(),
            labels.double().numpy(),
            log_likelihood=self.log_likelihood.numpy(),
            epistemic=float(self.epistemic.mean()) ** 0.5,
            noise=self.noise,
            **self.cost,
            **facts,
        )

    def validation_metrics(self) -> dict[str, float]:
        """Return NLL and RMSE."""
        error = (self.mean - self._labelled()).square().mean().sqrt()
        return {**super().validation_metrics(), "rmse": float(error)}

    def conformal(self, predictor: Predictor, *, alpha: float, **settings: Any) -> ConformalIntervals:
        """Return intervals, of which there is one kind; see `ConformalIntervals.fit`."""
        return ConformalIntervals.fit(self, predictor, alpha=alpha)

    def decide(self, validation: Any, *, risk: float, delta: float, **settings: Any) -> Decision:
        """Answer with the mean; see `bayespeft.report.decision.decide_quantities`."""
        return decide_quantities(self, self._alike(validation), risk=risk, delta=delta, **settings)


def log_likelihood(means: Tensor, noise: float, labels: Tensor) -> Tensor:
    """Return log N(labels; means, noise^2 I), nats: (..., n) for means (..., n, d) and labels (n, d)."""
    scaled = (labels.to(means) - means) / noise
    constant = math.log(noise) + 0.5 * math.log(2 * math.pi)
    return -(0.5 * scaled.square() + constant).sum(-1)


class NormalAverage(Average):
    """Mixes N(f_s, noise^2) over draws s; outputs are f_s (draws, rows, d).

    Args:
        n: examples.
        keep: keep the f_s.
        noise: standard deviation around f.
    """

    def __init__(self, n: int, keep: bool, noise: float) -> None:
        super().__init__(n, keep)
        self._noise = noise
        self._moments = Moments(n)
        self._log_sum = torch.full((n,), -math.inf, dtype=torch.float64)

    def add(self, outputs: Tensor, rows: Rows, first: int) -> None:
        """Add f of some draws; arguments as the base."""
        index, labels = rows.index, rows.labels
        self._moments.add(outputs, index)
        self._note(outputs, rows, first)
        if labels is not None:
            scores = log_likelihood(outputs, self._noise, labels)
            self._log_sum[index] = torch.logaddexp(self._log_sum[index], torch.logsumexp(scores, 0))
            self._score(scores, rows, first)

    def result(self, cost: Cost, unit: int | None = None) -> RegressionPredictive:
        """Return the mixture; arguments and errors as the base."""
        mean = self._moments.mean
        refuse_broken(~torch.isfinite(mean).all(-1))
        return RegressionPredictive(
            mean=mean,
            epistemic=self._moments.variance(self.draws),
            noise=self._noise,
            log_likelihood=None if self.labels is None else self._log_sum - math.log(self.draws),
            **self._stated(cost, unit),
            draw_means=self.kept,
        )


class NormalGaussianAverage(GaussianAverage):
    """f ~ N(mean, covariance) seen through noise: N(mean, covariance + noise^2 I), in closed form.

    Args:
        n: examples.
        noise: standard deviation around f.
    """

    def __init__(self, n: int, noise: float) -> None:
        self._n, self._noise = n, noise
        self._mean: Tensor | None = None
        self._epistemic = self._log_likelihood = torch.empty(0)
        self._labels: Tensor | None = None

    def add(self, mean: Tensor, covariance: Tensor, rows: Rows) -> None:
        """Add examples; arguments as the base. The likelihood is joint: outputs that share latents are correlated."""
        index, labels = rows.index, rows.labels
        if self._mean is None:
            self._mean = torch.zeros(self._n, mean.shape[-1], dtype=torch.float64)
            self._epistemic, self._log_likelihood = torch.zeros_like(self._mean), torch.zeros_like(self._mean[:, 0])
            self._labels = None if labels is None else torch.zeros(self._n, *labels.shape[1:], dtype=labels.dtype)
        self._mean[index] = mean
        self._epistemic[index] = covariance.diagonal(dim1=-2, dim2=-1).clamp_min(0)
        if labels is None or self._labels is None:
            return
        self._labels[index] = labels
        # By eigenvalues: rounding may leave the covariance slightly negative, and a Cholesky factor would then not exist.
        values, vectors = torch.linalg.eigh(covariance)
        variances = values.clamp_min(0) + self._noise**2
        along = torch.einsum("nkl,nk->nl", vectors, labels.to(mean) - mean)
        self._log_likelihood[index] = -0.5 * (along.square() / variances + (2 * math.pi * variances).log()).sum(-1)

    def result(self, backward_passes: int, seconds: float, peak_memory_bytes: int | None) -> RegressionPredictive:
        """Return the normal law; arguments as the base."""
        assert self._mean is not None
        refuse_broken(~torch.isfinite(self._mean).all(-1) | ~torch.isfinite(self._epistemic).all(-1))
        return RegressionPredictive(
            mean=self._mean,
            epistemic=self._epistemic,
            noise=self._noise,
            log_likelihood=None if self._labels is None else self._log_likelihood,
            labels=self._labels,
            draws=0,
            forward_passes=1,
            backward_passes=backward_passes,
            seconds=seconds,
            peak_memory_bytes=peak_memory_bytes,
        )
