"""Which of the most certain examples may be answered, so that the risk among answers is controlled: a threshold by rank.

The risk of a threshold t is R(t) = P(wrong | certainty > t) for a new example. Sort m validation examples, the most certain
first. Let n(e) be the smallest n with P(Binomial(n, risk) <= e) <= level: where the risk is larger than `risk`, no more than e
of the n(e) most certain are wrong with a probability of at most `level`. So test in this order, and stop at the first that
fails,

    among the n(e) most certain at most e are wrong,    e = e0, e0 + 1, ...

The threshold is the certainty of the first example after the last n(e) that passed. A fixed sequence spends its level once
(learn then test, Angelopoulos et al. 2021, arXiv 2110.01052); each test is Clopper & Pearson's bound turned around. Between
n(e) and n(e + 1) nothing is tested: it could only stop the sequence. The first test is at the largest n(e) up to
sqrt(n(0) m / 2): a share of the examples that falls as there are more of them, but never so few that no error is allowed.

The sequence has nine tenths of delta. The last tenth is for answering everything, the n = m most certain: where certainty
says little about errors, the sequence stops by chance before it comes to many examples. A sequence that comes to m by itself
brings its level along (the fallback procedure, Wiens 2003, Pharmaceutical Statistics 2(3)).

Ranks only are used, so that the rule is the same for any increasing function of certainty. That a sequence over ranks, whose
thresholds depend on the data, keeps delta exactly: call t bad if R(t) > risk. R is continuous where no certainty has a
probability of its own, so R = risk at both ends of every interval of bad thresholds, and the error rate between any two such
ends is `risk`, too. Given how many examples fall between them, and given the first bad threshold that is tested, the errors
above that one are therefore stochastically no fewer than Binomial(n, risk): it passes with a probability of at most its level.
Equal certainties are brought into a random order for this, and are answered or refused together: a threshold parts no group,
the end of each group is tested, and no other rank within one but the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from bayespeft.errors import DataError
from bayespeft.report.binning import Floats, Ints
from bayespeft.report.fractions import check_fraction
from bayespeft.report.metrics.examples import as_array

ALL = 0.1
"""Share of delta that is for answering everything."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Answer where certainty is above a threshold, and what that was found on.

    Attributes:
        threshold: minus infinity answers everything, infinity nothing: no threshold was shown to keep the risk.
        validated: validation examples.
        answers: how many of them the rule answers.
        errors: how many of these answers are wrong.
        tested: how many of the most certain were tested first; 0 where there are too few for any promise.
        needed: the fewest validation examples of which, without an error among them, anything can be promised.
    """

    threshold: float
    validated: int
    answers: int
    errors: int
    tested: int
    needed: int

    @property
    def found(self) -> bool:
        """Whether anything is answered."""
        return self.threshold < math.inf

    def __call__(self, certainty: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which of (n,) certainties are answered."""
        return _finite(certainty) > self.threshold


def check_guarantee(risk: float, delta: float) -> None:
    """Check that what is to be guaranteed can be: `ConfigError` where risk or delta is no number in (0, 1)."""
    check_fraction("risk", risk, "the largest error rate among answers", 0.05)
    check_fraction("delta", delta, "the largest probability that the guarantee fails", 0.05)


def controlled(certainty: npt.ArrayLike, wrong: npt.ArrayLike, *, risk: float, delta: float, seed: int = 0) -> Rule:
    """Return the rule that answers most among those that are shown to keep the risk.

    With a probability of at least 1 - delta over validation examples, which are independent of each other and of the law of
    the examples to come, P(wrong | answered) is at most `risk` for a new one, whatever that law is.

    Args:
        certainty: (m,) of validation examples, higher is more certain, in any unit; infinite is allowed.
        wrong: (m,) bool.
        risk: the largest error rate among answers, in (0, 1).
        delta: the largest probability that it is larger all the same, in (0, 1).
        seed: of the order of equal certainties.

    Raises:
        ConfigError: risk or delta is out of range. DataError: there is no example, a shape is another one, or a certainty is
            NaN.
    """
    check_guarantee(risk, delta)
    values, errors = _finite(certainty), np.asarray(wrong, dtype=bool)
    if not values.size:
        raise DataError("a threshold is fitted on validation data, and there is none.")
    if values.ndim != 1 or errors.shape != values.shape:
        raise DataError(f"certainties have shape {values.shape} and errors {errors.shape}: one of each per example.")
    if np.isnan(values).any():
        raise DataError(f"the certainty of validation example {int(np.isnan(values).argmax())} is NaN.")
    m = len(values)
    order = np.lexsort((np.random.default_rng(seed).permutation(m), -values))
    ordered, found = values[order], np.cumsum(errors[order])
    allowed = allowances(m, risk, (1 - ALL) * delta)
    ranks = _ranks(ordered, allowed)
    passed = np.logical_and.accumulate(found[ranks - 1] <= allowed[ranks - 1])
    # The certainty of the next example, which is not answered; after the last one there is none.
    following = np.append(ordered, -math.inf)
    parts = ranks[passed & (following[ranks] < ordered[ranks - 1])]
    level = delta if passed.all() and len(passed) else ALL * delta
    n = m if bdtr(float(found[-1]), m, risk) <= level else int(parts[-1]) if len(parts) else 0
    return Rule(
        threshold=float(following[n]) if n else math.inf,
        validated=m,
        answers=n,
        errors=int(found[n - 1]) if n else 0,
        tested=int(ranks[0]) if len(ranks) else 0,
        needed=fewest(risk, (1 - ALL) * delta),
    )


def _finite(certainty: npt.ArrayLike) -> Floats:
    """Return certainties with the least finite number for minus infinity, so that the threshold minus infinity answers all."""
    found: Floats = np.maximum(as_array(certainty, "certainty", np.float64), -np.finfo(np.float64).max)
    return found


def fewest(risk: float, delta: float) -> int:
    """Return n(0), the fewest examples without an error that show a risk of at most `risk`: (1 - risk)^n <= delta."""
    return math.ceil(math.log(delta) / math.log1p(-risk) - 1e-9)


def allowances(m: int, risk: float, delta: float) -> Ints:
    """Return how many errors 1, 2, ..., m examples may hold: the largest e with P(Binomial(n, risk) <= e) <= delta, or -1."""
    from scipy.stats import binom  # slow to import

    n = np.arange(1, m + 1)
    most = binom.ppf(delta, n, risk)
    # The quantile is the smallest e that reaches delta: it is allowed where it does not pass it.
    found: Ints = np.where(binom.cdf(most, n, risk) <= delta, most, most - 1).astype(np.int64)
    return found


def _ranks(ordered: Floats, allowed: Ints) -> Ints:
    """Return how many of the most certain are tested, in order: the n(e) from the first on, and ends of groups; but not all."""
    m = len(ordered)
    if allowed[-1] < 0:
        return np.empty(0, dtype=np.int64)
    steps = np.searchsorted(allowed, np.arange(allowed[-1] + 1)) + 1
    first = int(steps[steps <= max(math.sqrt(steps[0] * m / 2), steps[0])][-1])
    equal = ordered[1:] == ordered[:-1]
    ends = np.flatnonzero(equal & ~np.append(equal[1:], False)) + 2
    inside = np.flatnonzero(equal) + 1
    later = np.setdiff1d(np.union1d(steps, ends), inside)
    return np.append(first, later[(later > first) & (later < m)]).astype(np.int64)
