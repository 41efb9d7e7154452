"""Is the best method better than the others? Paired tests over seeds and test examples.

Another seed would have given other fits, and another test set other examples, so that a difference has to be large against
both. With d_si the difference of two methods on example i with seed s, both paired, and D its mean,

    t = D / sqrt(V_s + V_i),  V_s = var_s(mean_i d_si) / S,  V_i = var_i(mean_s d_si) / n,

the statistic of min F' (Clark 1973, Journal of Verbal Learning and Verbal Behavior 12, 335-359), whose law goes by the unknown
ratio of the two variances. Its p-value is that of the Behrens-Fisher law, of sqrt(V_s) T_(S-1) + sqrt(V_i) T_(n-1) with
independent t variables (Fisher 1935, Annals of Eugenics 6), which rejects a difference that is 0 no more often than stated,
whatever the ratio (Robinson 1976, Annals of Statistics 4(5); here by simulation, paper_repro/statistics/paired.py). Weighted
quantiles (Cochran and Cox 1957), which have more power, reject more often than stated where seeds are few and differ more than
examples, and the more so the smaller the level is that Holm's correction asks for. One seed leaves a test over examples, which
speaks of those fits alone: McNemar's exact test where each example is right or wrong (1947, Psychometrika 12(2); the sign test
of the discordant examples), else the paired t-test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, expit, stdtr, stdtrit

from bayespeft.errors import DataError

LEVEL = 0.05
BySeed = Mapping[int, npt.NDArray[np.float64]]


def paired_p(differences: npt.ArrayLike) -> float:
    """Return the two-sided p-value of the mean of differences (S, n) being 0, over S seeds and n examples.

    Of one seed whose differences are -1, 0 or 1 it is that of the exact McNemar test.

    It is never below 2^(1 - m), the least that an exact sign-flip test could say of the m examples that differ: few
    discordant examples do not make a t-distribution. 1 where n < 2 or a difference is not finite: nothing can be said.

    Raises:
        DataError: not an array (S, n) with at least one seed.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or d.shape[0] < 1:
        raise DataError(f"differences have the shape {d.shape}; (seeds, examples) is expected.")
    seeds, n = d.shape
    if n < 2 or not np.isfinite(d).all():
        return 1.0
    if seeds == 1 and np.isin(d, (-1, 0, 1)).all():
        return mcnemar_p(int((d > 0).sum()), int((d < 0).sum()))
    by_seed, by_example = d.mean(1), d.mean(0)
    of_examples = float(by_example.var(ddof=1)) / n
    of_seeds = float(by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    variance, mean = of_examples + of_seeds, float(d.mean())
    least = 2.0 ** (1 - min(int(np.count_nonzero(by_example)), 1000))
    if variance == 0:
        return least if mean else 1.0
    return min(max(behrens_fisher_p(abs(mean) / variance**0.5, of_seeds / variance, seeds - 1, n - 1), least), 1.0)


def behrens_fisher_p(t: float, share: float, first: int, second: int) -> float:
    """Return P(|sqrt(share) T + sqrt(1 - share) U| > t) of independent t variables T and U.

    Args:
        t: from 0 on.
        share: in [0, 1].
        first, second: degrees of freedom of T and U; those of one whose weight is 0 mean nothing.
    """
    # The integral is over the narrower of the two laws, because the other's tail is smooth on that scale.
    (narrow, inner), (wide, outer) = sorted(((share**0.5, first), ((1 - share) ** 0.5, second)))
    if narrow == 0:
        return 2 * float(stdtr(outer, -t))
    # The trapezoid rule in the log-odds of its distribution function, which reaches far into heavy tails.
    odds = np.linspace(-40, 40, 8001)
    tail = expit(-np.abs(odds))
    points = np.sign(odds) * -stdtrit(inner, tail)
    weights = tail * (1 - tail) * (odds[1] - odds[0])
    return 2 * float((weights * stdtr(outer, (narrow * points - t) / wide)).sum())


def mcnemar_p(better: int, worse: int) -> float:
    """Return the two-sided exact p-value of discordant examples being split evenly, Binomial(better + worse, 1/2)."""
    return min(2 * float(bdtr(min(better, worse), better + worse, 0.5)), 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979, Scandinavian Journal of Statistics 6(2))."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min((len(p_values) - rank) * p_values[i], 1.0))
        adjusted[i] = highest
    return adjusted


@dataclass(frozen=True, slots=True)
class Verdict:
    """The best method by a metric, and how sure that is.

    Attributes:
        best: the method with the best mean; None where there is one method, or one has no scores: nothing can be tested.
        p: every other method -> p-value of its difference from the best, Holm-adjusted for all pairs of methods: which one
            is best was seen in the same data.
    """

    best: str | None
    p: Mapping[str, float]

    @property
    def significant(self) -> bool:
        """Whether the best one differs from each of the others."""
        return self.best is not None and bool(self.p) and max(self.p.values()) < LEVEL


def judge(scores: Mapping[str, BySeed], higher_is_better: bool) -> Verdict:
    """Find the best method, and test each pair over the seeds that both have.

    Args:
        scores: method -> seed -> (n,) contributions to the metric, of the same test examples in the same order.
        higher_is_better: which way the metric goes.
    """
    if any(not by_seed for by_seed in scores.values()) or len(scores) < 2:
        return Verdict(None, {})
    means = {name: float(np.mean([values.mean() for values in found.values()])) for name, found in scores.items()}
    best = (max if higher_is_better else min)(means, key=means.__getitem__)
    pairs = list(combinations(scores, 2))
    adjusted = zip(pairs, holm([_p_of(scores[a], scores[b]) for a, b in pairs]), strict=True)
    return Verdict(best, {b if a == best else a: p for (a, b), p in adjusted if best in (a, b)})


def _p_of(one: BySeed, other: BySeed) -> float:
    seeds = [seed for seed in one if seed in other and len(one[seed]) == len(other[seed])]
    return paired_p([one[seed] - other[seed] for seed in seeds]) if seeds else 1.0
