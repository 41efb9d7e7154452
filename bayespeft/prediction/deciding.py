"""As many draws for each example as its decision needs: the most probable class of the averaged probabilities.

Draws come in rounds, after which each example is looked at. With m the mean and s the standard deviation of a class's value
over its n draws so far, the class a of the largest mean probability is settled where for every other class b

    m_a - m_b > t(n - 1, level') (s_a + s_b) / sqrt(n)

holds both of log-probabilities and of probabilities. s_a + s_b is never below the standard deviation of the difference, and all
but equals it for two classes: a one-sided t test that infinitely many draws would prefer b. `LEVEL` is divided among the looks
(`LOOKS`, `SHARES`; group sequential tests: Pocock 1977, Biometrika 64(2)) and not among the classes: who wins has to be ahead
of each, so that two classes in a tie, with all others far behind, are the hardest case (Gutmann and Maymin 1987, Annals of
Statistics 15(1), "Is the selected population the best?"). An example is settled on another class than that of infinitely many
draws with a probability of at most `LEVEL`, and near ties alone come close to it.

It holds as far as log-odds are normal over draws, as those of a network are that is all but linear in its weights;
probabilities alone would not do, for they crowd at 0 and 1. Without such an assumption no fewer than five draws could settle
anything at 5 %: the best bet on differences in [-1, 1] doubles its stake with each draw, and 2^4 < 1 / 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from scipy.special import stdtrit
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.prediction.rounds import SameRounds
from bayespeft.predictive.average import Cost, Rows, refuse_broken
from bayespeft.predictive.categorical import CategoricalAverage, Predictive, information_bias

LEVEL = 0.05
"""The largest probability that an example is settled on another class than infinitely many draws would give."""

LOOKS, SHARES = (3, 5, 8, 16, 32), (0.5, 0.2, 0.15, 0.15, 0.0)
"""Draws after which examples are looked at, and shares of the level; nothing is tested at the last, which ends all."""


class DecidingAverage(CategoricalAverage):
    """Averages as many draws of each of n examples as it is given, and says which decisions are settled."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._counts = torch.zeros(n, dtype=torch.int64)
        self._logs = self._log_squares = torch.empty(0)

    def add(self, outputs: Tensor, rows: Rows, first: int) -> None:
        """Add outputs (draws, rows, K); arguments as the base."""
        super().add(outputs, rows, first)
        log_probs = torch.log_softmax(outputs, -1)
        if not len(self._logs):
            self._logs = torch.zeros(self._n, outputs.shape[-1], dtype=torch.float64)
            self._log_squares = torch.zeros_like(self._logs)
        self._logs[rows.index] += log_probs.sum(0)
        self._log_squares[rows.index] += log_probs.square().sum(0)
        self._counts[rows.index] += len(outputs)

    def settled(self, rows: Tensor, draws: int) -> Tensor:
        """Return which decisions are settled of these rows (m,), which have so many draws, one of `LOOKS`: (m,) bool.

        Raises:
            FitError: an output is not a number.
        """
        assert self._log_sum is not None
        refuse_broken(self.broken)
        share, classes = SHARES[LOOKS.index(draws)], self._logs.shape[-1]
        if not share or classes == 1:
            return torch.full(rows.shape, classes == 1)
        quantile = -float(stdtrit(draws - 1, share * LEVEL))
        mean = torch.exp(self._log_sum[rows]) / draws
        top = mean.argmax(-1, keepdim=True)
        in_probs = _ahead(mean, self._squares[rows] / draws, top, quantile / (draws - 1) ** 0.5)
        logs, squares = self._logs[rows] / draws, self._log_squares[rows] / draws
        return in_probs & _ahead(logs, squares, top, quantile / (draws - 1) ** 0.5)

    def result(self, cost: Cost, unit: int | None = None) -> Predictive:
        """Return averages over each example's own draws, at least 2; arguments and errors as the base.

        How far the mean NLL would move is not told: some draws are of some examples only.
        """
        assert self._log_sum is not None
        refuse_broken(self.broken)
        counts = self._counts[:, None]
        log_probs = self._log_sum - torch.log(counts.double())
        return Predictive(
            **asdict(cost),
            labels=self.labels,
            log_probs=log_probs,
            expected_entropy=self._entropy / self._counts,
            draws_each=self._counts,
            information_bias=information_bias(torch.exp(log_probs), self._squares / counts, counts),
        )


def _ahead(mean: Tensor, squares: Tensor, top: Tensor, errors: float) -> Tensor:
    """Return where the value of class `top` (n, 1) is ahead of all others by the sum of their errors, (n,) bool.

    Args:
        mean: (n, K) over draws.
        squares: (n, K) means of squares.
        top: the class.
        errors: how many of the root of (mean square less squared mean) count.
    """
    spread = errors * (squares - mean.square()).clamp_min(0).sqrt()
    others = (mean + spread).scatter(-1, top, -math.inf).amax(-1)
    found: Tensor = (mean - spread).gather(-1, top)[:, 0] > others
    return found


@dataclass(frozen=True)
class Undecided:
    """The examples whose decision is open, batch by batch as they come.

    Attributes:
        examples: all of them.
        open: (n,) bool.
        rounds: compares each whole batch with that of the rounds before.
    """

    examples: Examples
    open: Tensor
    rounds: SameRounds

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield what is open of each batch of so many examples; nothing of a batch of which nothing is."""
        for number, batch in enumerate(self.examples.batches(size)):
            self.rounds.check(number, batch)
            wanted = self.open[batch.index.cpu()]
            if wanted.all():
                yield batch
            elif wanted.any():
                yield batch.rows(wanted.nonzero()[:, 0].to(batch.index.device))
