"""Bayesian model averaging: draws of the posterior to one predictive distribution per example.

p(y | x) = mean over draws of p(y | x, draw), averaged in log space with running sums: no draw is kept unless asked.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from bayespeft.attach import Attachment, mode
from bayespeft.data.examples import Examples
from bayespeft.errors import ConfigError, FitError
from bayespeft.inference.approximation import Approximation
from bayespeft.inference.folding import Folding
from bayespeft.inference.memory import PeakMemory
from bayespeft.likelihoods.base import Likelihood
from bayespeft.randomness import seeded


@dataclass(frozen=True)
class Predictive:
    """Predictive distribution of n examples over K classes, on the CPU, in the order of the data.

    Attributes:
        log_probs: (n, K) float64, log of the averaged probabilities.
        expected_entropy: (n,) mean entropy of the single draws, nats: the aleatoric part.
        labels: (n,) int64, or None where the data has none.
        draws: draws averaged; 0 means the posterior mean (or a point estimate).
        forward_passes: passes over the data that this took, in units of one pass of the network over every example.
        seconds: wall-clock time.
        peak_memory_bytes: most memory in use, or None where it can't be told.
        draw_log_probs: (draws, n, K) float32, only where asked for.
    """

    log_probs: Tensor
    expected_entropy: Tensor
    labels: Tensor | None
    draws: int
    forward_passes: int
    seconds: float
    peak_memory_bytes: int | None = None
    draw_log_probs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.log_probs)

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
        """(n,) entropy - expected entropy, nats: the epistemic part, what more data could remove (Houlsby et al. 2011)."""
        return (self.entropy - self.expected_entropy).clamp_min(0)


def entropy(log_probs: Tensor) -> Tensor:
    """Return -sum p log p over the last dimension, nats; 0 log 0 = 0."""
    probs = torch.exp(log_probs)
    result: Tensor = -torch.special.xlogy(probs, probs).sum(-1)
    return result


@dataclass(frozen=True)
class Predictor:
    """An adapted network, ready to predict."""

    model: torch.nn.Module
    attachment: Attachment
    approximation: Approximation
    likelihood: Likelihood
    device: torch.device

    def run(
        self,
        examples: Examples,
        draws: int,
        seed: int,
        draws_per_pass: int | str = "auto",
        batch_size: int = 32,
        keep_draws: bool = False,
    ) -> Predictive:
        """Predict every example with the same draws: draw d is one function for all of the data.

        Args:
            examples: the data.
            draws: how many; 0 is the posterior mean. A guide without spread has nothing to draw.
            seed: of the draws.
            draws_per_pass: draws folded into the batch axis at once, or "auto".
            batch_size: examples per pass.
            keep_draws: also return each draw's log-probabilities.

        Raises:
            ConfigError: draws < 0, or draws_per_pass < 1. FitError: an output is not a number.
        """
        if draws < 0:
            raise ConfigError(
                f"draws={draws}: the number of draws can't be negative; 0 predicts with the posterior mean."
            )
        draws = draws if self.approximation.stochastic else 0
        folding = Folding(draws_per_pass, draws, self.device)
        start = time.perf_counter()
        with torch.no_grad(), mode(self.model), seeded(seed), PeakMemory(self.device) as memory:
            generator = torch.Generator().manual_seed(seed)
            values = self.approximation.latent.draws(draws, generator) if draws else {}
            sums = _Sums(len(examples), draws, keep_draws)
            for batch in examples.batches(batch_size):
                moved = batch.to(self.device)
                first = 0
                while first < max(draws, 1):
                    before = folding.allocated()
                    size = min(folding.size(len(batch)), max(draws, 1) - first)
                    chunk = {name: value[first : first + size] for name, value in values.items()}
                    self.attachment.bind(self.approximation.folded_weights(chunk, len(batch)))
                    logits = self.likelihood.logits(self.model, moved.repeat(size))
                    log_probs = torch.log_softmax(logits.double(), -1).reshape(size, len(batch), -1).cpu()
                    folding.learn(before)
                    labels = None if batch.labels is None else batch.labels.cpu()
                    sums.add(log_probs, batch.index.cpu(), labels, first)
                    first += size
            self.attachment.bind({})
        seconds = time.perf_counter() - start
        return sums.result(seconds, memory.peak)


class _Sums:
    """Running sums over draws, for each example."""

    def __init__(self, n: int, draws: int, keep: bool) -> None:
        self._n, self._draws = n, draws
        self._log_sum: Tensor | None = None
        self._entropy = torch.zeros(n, dtype=torch.float64)
        self._labels: Tensor | None = None
        self._kept: Tensor | None = None
        self._keep = keep

    def add(self, log_probs: Tensor, index: Tensor, labels: Tensor | None, first: int) -> None:
        """Add some draws (draws, rows, K) of the rows at `index`; `first` numbers the first of these draws."""
        if self._log_sum is None:
            classes = log_probs.shape[-1]
            self._log_sum = torch.full((self._n, classes), -math.inf, dtype=torch.float64)
            if self._keep:
                self._kept = torch.empty(max(self._draws, 1), self._n, classes)
            if labels is not None:
                self._labels = torch.zeros(self._n, *labels.shape[1:], dtype=labels.dtype)
        self._log_sum[index] = torch.logaddexp(self._log_sum[index], torch.logsumexp(log_probs, 0))
        self._entropy[index] += entropy(log_probs).sum(0)
        if self._labels is not None and labels is not None:
            self._labels[index] = labels
        if self._kept is not None:
            self._kept[first : first + len(log_probs), index] = log_probs.float()

    def result(self, seconds: float, peak: int | None) -> Predictive:
        """Divide by the number of draws."""
        assert self._log_sum is not None
        broken = torch.nonzero(self._log_sum.isnan().any(-1)).flatten()
        if len(broken):
            raise FitError(
                f"the network's output for row {int(broken[0])} is not a number ({len(broken)} such rows); check that row, or "
                "run the network in float32."
            )
        count = max(self._draws, 1)
        return Predictive(
            log_probs=self._log_sum - math.log(count),
            expected_entropy=self._entropy / count,
            labels=self._labels,
            draws=self._draws,
            forward_passes=count,
            seconds=seconds,
            peak_memory_bytes=peak,
            draw_log_probs=self._kept,
        )
