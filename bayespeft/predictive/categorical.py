"""Classes: probabilities of K classes, averaged over draws in log space."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.predictive.base import Average, Cost, GaussianAverage, Prediction, refuse_broken


@dataclass(frozen=True, kw_only=True)
class Predictive(Prediction):
    """Predictive distribution of n examples over K classes.

    Attributes:
        log_probs: (n, K) float64, log of the averaged probabilities.
        expected_entropy: (n,) mean entropy of the single draws, nats: the aleatoric part.
        labels: (n,) int64, or None where the data has none.
        draw_log_probs: (draws, n, K) float32, only where asked for.
        information_bias: (n,) float64, nats: by how much so few draws make entropy - expected entropy too small on average,
            sum_k var_k / p_k / (2 draws) with the variance of class k's probability over draws: the leading term, which the
            jackknife removes, too. None where draws are not independent of each other, as those of a Sobol sequence or
            antithetic pairs, or are all there are.
    """

    log_probs: Tensor
    expected_entropy: Tensor
    draw_log_probs: Tensor | None = None
    information_bias: Tensor | None = None

    def __len__(self) -> int:
        return len(self.log_probs)

    @property
    def log_likelihood(self) -> Tensor | None:
        """(n,) log of the averaged probability of the labels, nats; None without labels."""
        return None if self.labels is None else log_likelihood(self.log_probs, self.labels)

    @property
    def probs(self) -> Tensor:
        """(n, K) averaged probabilities."""
        return torch.exp(self.log_probs)

    @property
    def entropy(self) -> Tensor:
        """(n,) entropy of the averaged probabilities, nats: all the uncertainty."""
        return entropy(self.log_probs)

    @property
    def mutual_information(self) -> Tensor:
        """(n,) of label and weights, nats: the epistemic part, what more data could remove (Houlsby et al. 2011).

        entropy - expected entropy, which is exact for infinitely many draws, less `information_bias` where that is known.
        """
        bias = 0.0 if self.information_bias is None else self.information_bias
        return (self.entropy - self.expected_entropy).clamp_min(0) + bias

    def of_mean_logits(self) -> Predictive:
        """Return the prediction of the draws' mean logits, softmax(mean over draws of logits), in place of mean probabilities.

        So the code of BLoB's ensemble (Wang-ML-Lab/bayesian-peft) predicts, for comparisons with its figures: a normalised
        geometric mean of probabilities, which is no average over draws, and sharper than it where draws disagree.

        Raises:
            ConfigError: the draws were not kept.
        """
        if self.draw_log_probs is None:
            raise ConfigError("mean logits need what each draw says: predict with keep_draws=True.")
        log_probs = torch.log_softmax(self.draw_log_probs.double().mean(0), -1)
        return replace(self, log_probs=log_probs, nll_error=None)


def entropy(log_probs: Tensor) -> Tensor:
    """Return -sum p log p over the last dimension, nats; 0 log 0 = 0."""
    probs = torch.exp(log_probs)
    result: Tensor = -torch.special.xlogy(probs, probs).sum(-1)
    return result


def log_likelihood(log_probs: Tensor, labels: Tensor) -> Tensor:
    """Return the log-probabilities (..., n) of labels (n,) among log_probs (..., n, K)."""
    return log_probs.gather(-1, labels.expand(log_probs.shape[:-1])[..., None])[..., 0]


class CategoricalAverage(Average):
    """Averages softmax probabilities; arguments as `Average`, outputs are logits."""

    def __init__(self, n: int, keep: bool = False) -> None:
        super().__init__(n, keep)
        self._log_sum: Tensor | None = None
        self._entropy = torch.zeros(n, dtype=torch.float64)
        self._squares = torch.empty(0)

    def add(self, outputs: Tensor, index: Tensor, labels: Tensor | None, first: int) -> None:
        """Add logits (draws, rows, K); arguments as the base."""
        log_probs = torch.log_softmax(outputs, -1)
        if self._log_sum is None:
            self._log_sum = torch.full((self._n, log_probs.shape[-1]), -math.inf, dtype=torch.float64)
            self._squares = torch.zeros_like(self._log_sum)
        self._log_sum[index] = torch.logaddexp(self._log_sum[index], torch.logsumexp(log_probs, 0))
        self._entropy[index] += entropy(log_probs).sum(0)
        self._squares[index] += torch.exp(2 * log_probs).sum(0)
        self._note(log_probs, index, first)
        if labels is not None:
            self._score(log_likelihood(log_probs, labels), index, labels, first)

    def result(self, cost: Cost, unit: int | None = None) -> Predictive:
        """Return the averaged probabilities; arguments and errors as the base."""
        assert self._log_sum is not None
        refuse_broken(self._log_sum.isnan().any(-1))
        return Predictive(
            log_probs=self._log_sum - math.log(self.draws),
            expected_entropy=self._entropy / self.draws,
            **self._stated(cost, unit),
            draw_log_probs=self.kept,
            information_bias=self._bias() if unit == 1 and cost.draws > 1 else None,
        )

    def _bias(self) -> Tensor:
        """`Predictive.information_bias` of independent draws."""
        assert self._log_sum is not None
        probs = torch.exp(self._log_sum - math.log(self.draws))
        variance = ((self._squares - self.draws * probs.square()) / (self.draws - 1)).clamp_min(0)
        ratio = torch.where(probs > 0, variance / probs, 0.0)
        return ratio.sum(-1) / (2 * self.draws)


REPLICATES = 8
"""Groups of normals that a linearised prediction draws independently of each other, so that its error can be told."""


class CategoricalGaussianAverage(GaussianAverage):
    """Averages softmax probabilities over draws of Gaussian logits, which cost no pass of the network.

    Args:
        n: examples.
        keep: keep the log-probabilities of each draw of the logits.
        normals: gives (draws, K) standard normals, the same for every example: `REPLICATES` independent groups of equal
            size, one after the other.
    """

    def __init__(self, n: int, keep: bool, normals: Callable[[int], Tensor]) -> None:
        self._average, self._normals, self._classes = CategoricalAverage(n, keep), normals, 0

    def add(self, mean: Tensor, covariance: Tensor, index: Tensor, labels: Tensor | None) -> None:
        """Add examples with logits ~ N(mean, covariance); arguments as the base."""
        noise = self._normals(mean.shape[-1]).to(mean)
        if not self._classes:
            self._average.begin(len(noise))
            self._classes = mean.shape[-1]
        drawn = mean + torch.einsum("nkl,sl->snk", _root(covariance), noise)
        self._average.add(drawn, index, labels, 0)

    def result(self, seconds: float, peak_memory_bytes: int | None) -> Predictive:
        """Return the averaged probabilities; arguments as the base."""
        cost = Cost(self._average.draws, 1, seconds, self._classes, peak_memory_bytes)
        return self._average.result(cost, max(self._average.draws // REPLICATES, 1))


def _root(covariance: Tensor) -> Tensor:
    """Return the symmetric R with R R = covariance (..., K, K), which may be singular.

    It is the one root that moves little when the covariance does: eigenvectors may turn, and with them every draw.
    """
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp_min(0).sqrt().unsqueeze(-2)) @ vectors.mT
    return root
