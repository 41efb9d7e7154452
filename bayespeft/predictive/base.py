"""What predictive laws share: what they cost, and running sums over draws. No draw is kept unless asked.

p(y | x) = mean over draws of p(y | x, draw), averaged in log space.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from bayespeft.errors import FitError


@dataclass(frozen=True, kw_only=True)
class Prediction(ABC):
    """A predictive law for each of n examples, on the CPU, in the order of the data.

    Attributes:
        labels: (n, ...), or None where the data has none.
        draws: draws averaged; 0 means that nothing was drawn: the posterior mean, a point estimate, or a closed form.
        forward_passes: passes over the data that this took, in units of one pass of the network over every example.
        seconds: wall-clock time.
        backward_passes: passes backwards, in the same unit; the linearised prediction takes one per output.
        peak_memory_bytes: most memory in use, or None where it can't be told.
        nll_error: Monte Carlo standard error of the mean NLL, nats: how much another seed of the draws would move it. None
            without labels, or where the draws are not independent of each other.
    """

    labels: Tensor | None
    draws: int
    forward_passes: int
    seconds: float
    backward_passes: int = 0
    peak_memory_bytes: int | None = None
    nll_error: float | None = None

    @abstractmethod
    def __len__(self) -> int:
        """n."""

    @property
    @abstractmethod
    def log_likelihood(self) -> Tensor | None:
        """(n,) float64, log of the averaged probability (or density) of the labels, nats; None without labels."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a prediction took; attributes as `Prediction`."""

    draws: int
    forward_passes: int
    seconds: float
    backward_passes: int = 0
    peak_memory_bytes: int | None = None


class Average(ABC):
    """Running sums over draws, for each of n examples.

    Args:
        n: examples.
        keep: keep what each draw says.

    Attributes:
        draws: announced so far.
        labels: (n, ...) as far as they were added, or None where the data has none.
    """

    def __init__(self, n: int, keep: bool = False) -> None:
        self.draws = 0
        self.labels: Tensor | None = None
        self._n, self._keep = n, keep
        self._kept: list[Tensor] = []
        self._scores: list[Tensor] = []

    def begin(self, draws: int) -> None:
        """Announce draws; `add` then fills in their predictions, in any order of rows."""
        self.draws += draws
        self._scores.append(torch.zeros(draws, self._n, dtype=torch.float64))
        self._kept.append(torch.empty(0))

    @abstractmethod
    def add(self, outputs: Tensor, index: Tensor, labels: Tensor | None, first: int) -> None:
        """Add some of the announced draws.

        Args:
            outputs: (draws, rows, K) float64 outputs of the network under these draws.
            index: (rows,) which examples.
            labels: (rows, ...) where the data has them, as the likelihood observes them.
            first: which of the announced draws is the first of these.
        """

    def _score(self, scores: Tensor, index: Tensor, labels: Tensor, first: int) -> None:
        """Note labels, and their log-probabilities under single draws, (draws, rows)."""
        if self.labels is None:
            self.labels = torch.zeros(self._n, *labels.shape[1:], dtype=labels.dtype)
        self.labels[index] = labels
        self._scores[-1][first : first + len(scores), index] = scores

    def _note(self, values: Tensor, index: Tensor, first: int) -> None:
        """Keep what draws say, (draws, rows, K), if asked to."""
        if not self._keep:
            return
        if self._kept[-1].dim() == 1:
            self._kept[-1] = torch.empty(len(self._scores[-1]), self._n, values.shape[-1])
        self._kept[-1][first : first + len(values), index] = values.float()

    @property
    def kept(self) -> Tensor | None:
        """(draws, n, K) float32, only where asked for."""
        return torch.cat(self._kept) if self._keep else None

    def nll_error(self, unit: int | None) -> float | None:
        """Return the standard error of the mean NLL over draws, nats.

        By the delta method: draw s moves the NLL by -mean_n(p_sn / mean_s p_sn) / draws.

        Args:
            unit: draws in a row that belong together; units are independent. None: no two are.
        """
        if self.labels is None or unit is None or self.draws < 2 * unit:
            return None
        scores = torch.cat(self._scores)
        influence = torch.exp(scores - (torch.logsumexp(scores, 0) - math.log(self.draws))).mean(1)
        units = influence[: self.draws // unit * unit].reshape(-1, unit).mean(1)
        return float(units.std() / len(units) ** 0.5)

    def _stated(self, cost: Cost, unit: int | None) -> dict[str, Any]:
        """Return the fields that every `Prediction` has; arguments as `result`."""
        error = self.nll_error(unit) if cost.draws else None
        return {**asdict(cost), "labels": self.labels, "nll_error": error}

    @abstractmethod
    def result(self, cost: Cost, unit: int | None = None) -> Prediction:
        """Divide by the number of draws.

        Args:
            cost: as it is to be stated; `draws` is 0 for the one pass of a mean.
            unit: as for `nll_error`.

        Raises:
            FitError: an output is not a number.
        """


class GaussianAverage(ABC):
    """An average over outputs ~ N(mean, covariance), for each of n examples: a linearised network's."""

    @abstractmethod
    def add(self, mean: Tensor, covariance: Tensor, index: Tensor, labels: Tensor | None) -> None:
        """Add some examples.

        Args:
            mean: (rows, K) float64.
            covariance: (rows, K, K) float64, possibly singular.
            index: (rows,) which examples.
            labels: (rows, ...) where the data has them, as the likelihood observes them.
        """

    @abstractmethod
    def result(self, seconds: float, peak_memory_bytes: int | None) -> Prediction:
        """Return the law, with the cost of one forward pass and K backward passes; errors as `Average.result`."""


def refuse_broken(broken: Tensor, index: Tensor | None = None) -> None:
    """Raise `FitError` if any of (n,) rows is broken; `index` (n,) says which rows they are, None that they are all."""
    rows = torch.nonzero(broken).flatten() if index is None else index[broken]
    if len(rows):
        raise FitError(
            f"the network's output for row {int(rows[0])} is not a number ({len(rows)} such rows); check that row, or "
            "run the network in float32."
        )
