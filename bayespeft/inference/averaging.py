"""Bayesian model averaging: the one place where draws become a predictive distribution, whatever made them.

p(y | x) = mean over draws of p(y | x, draw), averaged in log space with running sums: no draw is kept unless asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bayespeft.errors import FitError


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
        backward_passes: passes backwards, in the same unit; the linearised prediction takes one per class.
        peak_memory_bytes: most memory in use, or None where it can't be told.
        nll_error: Monte Carlo standard error of the mean NLL, nats: how much another seed of the draws would move it. None
            without labels, or where the draws are not independent of each other.
        draw_log_probs: (draws, n, K) float32, only where asked for.
    """

    log_probs: Tensor
    expected_entropy: Tensor
    labels: Tensor | None
    draws: int
    forward_passes: int
    seconds: float
    backward_passes: int = 0
    peak_memory_bytes: int | None = None
    nll_error: float | None = None
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


class Average:
    """Running sums over draws, for each of n examples.

    Attributes:
        draws: announced so far.
        labels: (n,) as far as they were added, or None where the data has none.
    """

    def __init__(self, n: int, keep: bool = False) -> None:
        self.draws = 0
        self._n, self._keep = n, keep
        self._log_sum: Tensor | None = None
        self._entropy = torch.zeros(n, dtype=torch.float64)
        self.labels: Tensor | None = None
        self._kept: list[Tensor] = []
        self._scores: list[Tensor] = []

    def begin(self, draws: int) -> None:
        """Announce draws; `add` then fills in their predictions, in any order of rows."""
        self.draws += draws
        self._scores.append(torch.zeros(draws, self._n))
        self._kept.append(torch.empty(0))

    def add(self, log_probs: Tensor, index: Tensor, labels: Tensor | None, first: int) -> None:
        """Add some of the announced draws.

        Args:
            log_probs: (draws, rows, K) of these draws.
            index: (rows,) which examples.
            labels: (rows,) where the data has them.
            first: which of the announced draws is the first of these.
        """
        classes = log_probs.shape[-1]
        if self._log_sum is None:
            self._log_sum = torch.full((self._n, classes), -math.inf, dtype=torch.float64)
            if labels is not None:
                self.labels = torch.zeros(self._n, *labels.shape[1:], dtype=labels.dtype)
        self._log_sum[index] = torch.logaddexp(self._log_sum[index], torch.logsumexp(log_probs, 0))
        self._entropy[index] += entropy(log_probs).sum(0)
        rows = slice(first, first + len(log_probs))
        if self.labels is not None and labels is not None:
            self.labels[index] = labels
            self._scores[-1][rows, index] = log_probs.gather(-1, labels.expand(log_probs.shape[:2])[..., None])[
                ..., 0
            ].float()
        if self._keep:
            if self._kept[-1].dim() == 1:
                self._kept[-1] = torch.empty(len(self._scores[-1]), self._n, classes)
            self._kept[-1][rows, index] = log_probs.float()

    def nll_error(self, unit: int | None) -> float | None:
        """Return the standard error of the mean NLL over draws, nats.

        By the delta method: draw s moves the NLL by -mean_n(p_sn / mean_s p_sn) / draws.

        Args:
            unit: draws in a row that belong together; units are independent. None: no two are.
        """
        if self.labels is None or unit is None or self.draws < 2 * unit:
            return None
        scores = torch.cat(self._scores).double()
        influence = torch.exp(scores - (torch.logsumexp(scores, 0) - math.log(self.draws))).mean(1)
        units = influence[: self.draws // unit * unit].reshape(-1, unit).mean(1)
        return float(units.std() / len(units) ** 0.5)

    def result(
        self,
        *,
        draws: int,
        forward_passes: int,
        seconds: float,
        peak: int | None,
        backward_passes: int = 0,
        unit: int | None = None,
    ) -> Predictive:
        """Divide by the number of draws.

        Args:
            draws: as it is to be stated; 0 for the one pass of a mean.
            forward_passes: the cost.
            seconds: the cost.
            peak: the cost, in bytes.
            backward_passes: the cost.
            unit: as for `nll_error`.

        Raises:
            FitError: an output is not a number.
        """
        assert self._log_sum is not None
        broken = torch.nonzero(self._log_sum.isnan().any(-1)).flatten()
        if len(broken):
            raise FitError(
                f"the network's output for row {int(broken[0])} is not a number ({len(broken)} such rows); check that row, or "
                "run the network in float32."
            )
        return Predictive(
            log_probs=self._log_sum - math.log(self.draws),
            expected_entropy=self._entropy / self.draws,
            labels=self.labels,
            draws=draws,
            forward_passes=forward_passes,
            seconds=seconds,
            backward_passes=backward_passes,
            peak_memory_bytes=peak,
            nll_error=self.nll_error(unit) if draws else None,
            draw_log_probs=torch.cat(self._kept) if self._keep else None,
        )
