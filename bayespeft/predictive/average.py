"""Running sums over draws, which make a predictive law: p(y | x) = mean over draws of p(y | x, draw), averaged in log space.

No draw is kept unless asked.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bayespeft.errors import FitError
from bayespeft.predictive.base import Prediction

# With more outputs than these a Cholesky factor is tried before the symmetric root: it takes a tenth of the time.
WIDE = 200
# Parts of the mean variance that are added, one after the other, until a singular covariance in single precision has a factor.
JITTER = (1e-6, 1e-4)


@dataclass(frozen=True, slots=True)
class Rows:
    """The examples that some outputs are of.

    Attributes:
        index: (rows,) int64, their positions in the data.
        labels: (rows, ...) as the likelihood observes them, or None where the data has none.
        counted: (rows, T) bool, which of an example's T outputs stand for something; None: there is no such axis, or all do.
    """

    index: Tensor
    labels: Tensor | None = None
    counted: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a prediction took; attributes as `Prediction`."""

    draws: int
    forward_passes: int
    seconds: float
    backward_passes: int = 0
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """Which draws depend on each other.

    Attributes:
        unit: so many draws in a row belong together, such as 2 for antithetic pairs.
        members: how many draws there are at all, if they end, as those of an ensemble do.
    """

    unit: int = 1
    members: int | None = None


ALONE = Groups()


class Average(ABC):
    """Running sums over draws, for each of n examples. What outputs are shaped like is the business of each kind.

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
        self._n, self._keep, self._groups = n, keep, ALONE
        self._begun: list[int] = []
        self._kept: list[Tensor] = []
        self._scores: list[Tensor] = []

    def begin(self, draws: int, groups: Groups = ALONE) -> None:
        """Announce draws; `add` then fills in their predictions, in any order of rows, those of a row in their order.

        Args:
            draws: how many more.
            groups: how they depend on each other; the same each time.
        """
        self.draws += draws
        self._groups = groups
        self._begun.append(draws)

    @abstractmethod
    def add(self, outputs: Tensor, rows: Rows, first: int) -> None:
        """Add some of the announced draws.

        Args:
            outputs: (draws, rows, ...) float64 outputs of the network under these draws.
            rows: which examples.
            first: which of the announced draws is the first of these.
        """

    def _score(self, scores: Tensor, rows: Rows, first: int) -> None:
        """Note labels, and their log-probabilities under single draws, (draws, rows)."""
        assert rows.labels is not None
        if self.labels is None:
            self.labels = torch.zeros(self._n, *rows.labels.shape[1:], dtype=rows.labels.dtype)
        self.labels[rows.index] = rows.labels
        self._fill(self._scores, scores, rows.index, first)

    def _note(self, values: Tensor, rows: Rows, first: int) -> None:
        """Keep what draws say, (draws, rows, ...), if asked to."""
        if self._keep:
            self._fill(self._kept, values.float(), rows.index, first)

    def _fill(self, rounds: list[Tensor], values: Tensor, index: Tensor, first: int) -> None:
        """Put values of some draws and rows in their place, (draws, n, ...) for each round of announced draws."""
        if len(rounds) < len(self._begun):
            rounds.append(torch.zeros(self._begun[-1], self._n, *values.shape[2:], dtype=values.dtype))
        rounds[-1][first : first + len(values), index] = values

    @property
    def kept(self) -> Tensor | None:
        """(draws, n, ...) float32, only where asked for."""
        return torch.cat(self._kept) if self._keep else None

    @property
    def scores(self) -> Tensor:
        """(draws, n) float64, log-probabilities of the labels under single draws."""
        return torch.cat(self._scores)

    def nll_error(self, unit: int | None) -> float | None:
        """Return the standard error of the mean NLL over draws, nats.

        By the delta method: draw s moves the NLL by -mean_n(p_sn / mean_s p_sn) / draws.

        Args:
            unit: draws in a row that belong together; units are independent. None: no two are.
        """
        if self.labels is None or unit is None or self.draws < 2 * unit:
            return None
        influence = self._influence()
        units = influence[: self.draws // unit * unit].reshape(-1, unit).mean(1)
        return float(units.std() / len(units) ** 0.5)

    def _influence(self) -> Tensor:
        """Return mean_n(p_sn / mean_s p_sn) for each draw, (draws,)."""
        return relative(self.scores).mean(1)

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


def log_mean(log_probs: Tensor) -> Tensor:
    """Return the log of the mean over draws of probabilities, of log-probabilities (draws, ...): (...)."""
    return torch.logsumexp(log_probs, 0) - math.log(len(log_probs))


def relative(scores: Tensor) -> Tensor:
    """Return p_sn / mean_s p_sn of log-probabilities (draws, n)."""
    return torch.exp(scores - log_mean(scores))


class GaussianAverage(ABC):
    """An average over outputs ~ N(mean, covariance), for each of n examples: those of a linearised network."""

    @abstractmethod
    def add(self, mean: Tensor, covariance: Tensor, rows: Rows) -> None:
        """Add some examples.

        Args:
            mean: (rows, ..., K) float64.
            covariance: (rows, ..., K, K) float64, possibly singular: outputs along the last axis are jointly Gaussian, and of
                those along the axes before it only the marginal law is known.
            rows: which examples.
        """

    @abstractmethod
    def result(self, backward_passes: int, seconds: float, peak_memory_bytes: int | None) -> Prediction:
        """Return the law, with the cost of one forward pass and so many backward passes; errors as `Average.result`."""


REPLICATES = 8
"""Groups of normals that a linearised prediction draws independently of each other, so that its error can be told."""


class Normals(Protocol):
    """Standard normals that outputs are drawn with, the same for every example."""

    def of_size(self, outputs: int) -> Tensor:
        """Return (draws, outputs) of them: `REPLICATES` independent groups of equal size, one after the other."""


class DrawnGaussianAverage(GaussianAverage):
    """Averages over draws of Gaussian outputs, which cost no pass of the network.

    Args:
        average: of what is said under each draw of the outputs.
        normals: for K outputs.
    """

    def __init__(self, average: Average, normals: Normals) -> None:
        self._average, self._normals, self._begun = average, normals, False

    def add(self, mean: Tensor, covariance: Tensor, rows: Rows) -> None:
        """Add examples with outputs ~ N(mean, covariance); arguments as the base."""
        noise = self._normals.of_size(mean.shape[-1]).to(mean)
        if not self._begun:
            self._average.begin(len(noise), Groups(max(len(noise) // REPLICATES, 1)))
            self._begun = True
        drawn = mean + torch.einsum("...kl,sl->s...k", _root(covariance), noise)
        self._average.add(drawn, rows, 0)

    def result(self, backward_passes: int, seconds: float, peak_memory_bytes: int | None) -> Prediction:
        """Return the averaged law; arguments as the base."""
        cost = Cost(self._average.draws, 1, seconds, backward_passes, peak_memory_bytes)
        return self._average.result(cost, max(self._average.draws // REPLICATES, 1))


def _root(covariance: Tensor) -> Tensor:
    """Return R with R R^T = covariance (..., K, K), which may be singular.

    The symmetric root is the one that moves little when the covariance does: eigenvectors may turn, and with them every draw.
    Of many outputs it takes ten times as long as a Cholesky factor, which serves where there is one. Fewer weights than outputs
    leave none: a `JITTER` of the mean variance, added to each, is far below what draws can tell.
    """
    if covariance.shape[-1] > WIDE:
        identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
        variance = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
        for share in (0.0, *JITTER):
            factor, failed = torch.linalg.cholesky_ex(covariance + share * variance * identity)
            if not failed.any():
                return torch.as_tensor(factor)
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp_min(0).sqrt().unsqueeze(-2)) @ vectors.mT
    return root


def refuse_broken(broken: Tensor, index: Tensor | None = None) -> None:
    """Raise `FitError` if any of (n,) rows is broken; `index` (n,) says which rows they are, None that they are all."""
    rows = torch.nonzero(broken).flatten() if index is None else index[broken]
    if len(rows):
        raise FitError(
            f"the network's output for row {int(rows[0])} is not a number ({len(rows)} such rows); check that row, or "
            "run the network in float32."
        )
