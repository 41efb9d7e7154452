"""As many draws for each example as its decision needs: the most probable class of the averaged probabilities.

Draws come in rounds, after which each example is looked at. The first `ALONE` are independent; their mirror images follow (the
noise with the other sign), and then pairs of mirror images: what is odd in the noise, most of what draws differ by, cancels in
the mean of a pair, and near ties are settled by it. With m the mean and s the standard deviation of the difference between the
values of class a, of the largest mean probability, and of another class b over n units so far, which are draws at first and
pairs afterwards, a is settled where for every b

    m > q s / sqrt(n)

holds both of log-probabilities and of probabilities: one-sided t tests that infinitely many draws would prefer b. `LEVEL` is
divided among the looks (`LOOKS`, `SHARES`; group sequential tests: Pocock 1977, Biometrika 64(2)) and not among the classes:
who wins has to be ahead of each, so that two classes in a tie, with all others far behind, are the hardest case (Gutmann and
Maymin 1987, Annals of Statistics 15(1), "Is the selected population the best?"). An example is settled on another class than
that of infinitely many draws with a probability of at most `LEVEL`, and near ties alone come close to it.

It holds as far as log-odds are normal over draws, as those of a network are that is all but linear in its weights, plus a small
part that is quadratic in them (a quarter as wide, where it was simulated): means of pairs are of that part alone, which is
skewed, so that q is no quantile of Student's t for them, but one for units of an exponential law, where a quadratic part of two
equal directions has them (chi-squared with two degrees of freedom); more directions are nearer to a normal law. With one
direction alone near ties come to twice the level. Probabilities alone would not do, for they crowd at 0 and 1. Without such an
assumption no fewer than five draws could settle anything at 5 %: the best bet on differences in [-1, 1] doubles its stake with
each draw, and 2^4 < 1 / 0.05.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from scipy.special import stdtrit
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.prediction.rounds import SameRounds
from bayespeft.prediction.sampling import Noise
from bayespeft.predictive.average import Cost, Rows, refuse_broken
from bayespeft.predictive.categorical import CategoricalAverage, Predictive, information_bias

LEVEL = 0.05
"""The largest probability that an example is settled on another class than infinitely many draws give, as far as above."""

LOOKS, SHARES = (3, 5, 10, 16, 32), (0.52, 0.2, 0.14, 0.14, 0.0)
"""Draws after which examples are looked at, and shares of the level; nothing is tested at the last, which ends all."""

ALONE = 5
"""Draws that are independent of each other, before their mirror images come."""

QUANTILES = {10: 10.83, 16: 7.07}
"""By draws, of which pairs are the units: how far the t of exponential units is below 0 with the level of that look."""


class Mirrored:
    """Noise in the order of the rounds: `ALONE` vectors, their mirror images, then vectors and mirror images in turns.

    Args:
        noise: independent vectors.
    """

    def __init__(self, noise: Noise) -> None:
        self._noise, self._alone = noise, torch.zeros(0, noise.size)

    def take(self, before: int, after: int) -> Tensor:
        """Return the vectors of the draws of one round, (after - before, size), after so many others."""
        if after <= ALONE:
            found = self._noise.take(after - before)
            self._alone = torch.cat([self._alone, found])
            return found
        if before == ALONE:
            return -self._alone[: after - before]
        vectors = self._noise.take((after - before) // 2)
        return torch.stack([vectors, -vectors], 1).flatten(0, 1)


def units(draws: Tensor) -> Tensor:
    """Return what is independent of draws (n, ...) in the order of the rounds: themselves, or means of pairs (n / 2, ...)."""
    if len(draws) <= ALONE:
        return draws
    first, mirrored, rest = draws[:ALONE], draws[ALONE : 2 * ALONE], draws[2 * ALONE :]
    return torch.cat([(first + mirrored) / 2, (rest[::2] + rest[1::2]) / 2])


class DecidingAverage(CategoricalAverage):
    """Averages as many draws of each of n examples as it is given, and says which decisions are settled.

    What draws say is kept, of the examples that are open when a round of draws begins.
    """

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._counts = torch.zeros(n, dtype=torch.int64)
        self._rounds: list[tuple[Tensor, Tensor]] = []
        self._open = torch.arange(n)

    def announce(self, draws: int, rows: Tensor) -> None:
        """Announce draws, as `begin`, of some examples (m,), which are in order."""
        self.begin(draws)
        self._open = rows

    def add(self, outputs: Tensor, rows: Rows, first: int) -> None:
        """Add outputs (draws, rows, K); arguments as the base."""
        super().add(outputs, rows, first)
        if len(self._rounds) < len(self._begun):
            place = torch.zeros(self._n, dtype=torch.int64)
            place[self._open] = torch.arange(len(self._open))
            said = torch.zeros(self._begun[-1], len(self._open), outputs.shape[-1], dtype=torch.float64)
            self._rounds.append((place, said))
        place, said = self._rounds[-1]
        said[first : first + len(outputs), place[rows.index]] = torch.log_softmax(outputs, -1)
        self._counts[rows.index] += len(outputs)

    def settled(self, rows: Tensor, draws: int) -> Tensor:
        """Return which decisions are settled of these rows (m,), which have so many draws, one of `LOOKS`: (m,) bool.

        Raises:
            FitError: an output is not a number.
        """
        refuse_broken(self.broken)
        share = SHARES[LOOKS.index(draws)]
        log_probs = self._said(rows, draws)
        if not share or log_probs.shape[-1] == 1:
            return torch.full(rows.shape, log_probs.shape[-1] == 1)
        top = log_probs.exp().mean(0).argmax(-1)
        return _ahead(log_probs, top, share) & _ahead(log_probs.exp(), top, share)

    def _said(self, rows: Tensor, draws: int) -> Tensor:
        """Return the log-probabilities of the first so many draws of rows that have them, (draws, m, K)."""
        return torch.cat([said[:, place[rows]] for place, said in self._rounds[: 1 + LOOKS.index(draws)]])

    def result(self, cost: Cost, unit: int | None = None) -> Predictive:
        """Return averages over each example's own draws, at least 2; arguments and errors as the base.

        How far the mean NLL would move is not told: some draws are of some examples only.
        """
        assert self._log_sum is not None
        refuse_broken(self.broken)
        log_probs = self._log_sum - torch.log(self._counts[:, None].double())
        bias = torch.zeros(self._n, dtype=torch.float64)
        for draws in set(self._counts.tolist()):
            rows = (self._counts == draws).nonzero()[:, 0]
            own = units(self._said(rows, draws).exp())
            bias[rows] = information_bias(own.mean(0), own.square().mean(0), len(own))
        return Predictive(
            **asdict(cost),
            labels=self.labels,
            log_probs=log_probs,
            expected_entropy=self._entropy / self._counts,
            draws_each=self._counts,
            information_bias=bias,
        )


def _ahead(values: Tensor, top: Tensor, share: float) -> Tensor:
    """Return where class `top` (m,) is ahead of all others by the error of the difference, (m,) bool.

    Args:
        values: of the classes, (draws, m, K).
        top: the class.
        share: of the level.
    """
    own = units(values.gather(-1, top.expand(len(values), -1)[..., None]) - values)
    n = len(own)
    quantile = QUANTILES[len(values)] if n < len(values) else -float(stdtrit(n - 1, share * LEVEL))
    ahead = own.mean(0) > quantile * own.std(0) / n**0.5
    found: Tensor = ahead.scatter(-1, top[:, None], True).all(-1)
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
