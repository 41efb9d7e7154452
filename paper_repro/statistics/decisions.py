"""Power and validity of `decide` against published rules, by simulation with a known law.

python -m paper_repro.statistics.decisions
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import binom

from bayespeft.report.selection import controlled
from paper_repro.results import append, read

EXPERIMENT = "decide"
DELTA, POPULATION = 0.05, 200_000
Array = npt.NDArray[np.float64]
Chooser = Callable[[Array, npt.NDArray[np.bool_], float], float]


def ours(confidence: Array, wrong: npt.NDArray[np.bool_], risk: float) -> float:
    return controlled(confidence, wrong, risk=risk, delta=DELTA).threshold


def sgr(confidence: Array, wrong: npt.NDArray[np.bool_], risk: float) -> float:
    """Selection with guaranteed risk, Geifman & El-Yaniv 2017 (arXiv 1705.08500), algorithm 1: bisection with delta shared."""
    values, errors = _sorted(confidence, wrong)
    m = len(values)
    low, high, rounds, best = 0, m - 1, math.ceil(math.log2(m)), math.inf
    for _ in range(rounds):
        at = math.ceil((low + high) / 2)
        if binom.cdf(errors[at], m - at, risk) < DELTA / rounds:
            high, best = at, float(values[at])
        else:
            low = at
    return math.inf if best == math.inf else float(np.nextafter(best, -1))


def bonferroni(confidence: Array, wrong: npt.NDArray[np.bool_], risk: float, size: int = 20) -> float:
    """Learn then test (Angelopoulos et al. 2021, arXiv 2110.01052) over 20 even thresholds, delta shared evenly."""
    grid = np.linspace(0.5, 1, size + 1)[:-1]
    passed = _p_values(confidence, wrong, grid, risk) <= DELTA / size
    return float(np.nextafter(grid[passed].min(), -1)) if passed.any() else math.inf


def fixed_sequence(confidence: Array, wrong: npt.NDArray[np.bool_], risk: float) -> float:
    """Learn then test by a fixed sequence over log-odds in steps of 0.1, from the last one below a confidence of .97 down."""
    grid = expit(np.arange(-0.1, math.log(0.97 / 0.03), 0.1))[::-1]
    passed = np.logical_and.accumulate(_p_values(confidence, wrong, grid, risk) <= DELTA)
    return float(np.nextafter(grid[passed][-1], -1)) if passed.any() else math.inf


def fallback(confidence: Array, wrong: npt.NDArray[np.bool_], risk: float) -> float:
    """What `decide` did before it went by rank: the fallback procedure (Wiens 2003) over log-odds from 12 down in steps of 0.1,
    with delta shared evenly over starting points 2 apart."""
    grid = np.append(expit(np.arange(12.0, -0.1, -0.1)), 0.0)
    starts = np.arange(len(grid)) % 20 == 0
    found, level = math.inf, 0.0
    for threshold, p, start in zip(grid, _p_values(confidence, wrong, grid, risk), starts, strict=True):
        level += DELTA / starts.sum() if start else 0.0
        found, level = (float(threshold), level) if p <= level else (found, 0.0)
    return float(np.nextafter(found, -1)) if found < math.inf else found


RULES: dict[str, Chooser] = {
    "ours": ours, "SGR": sgr, "20 thresholds, Bonferroni": bonferroni, "fixed sequence from .97": fixed_sequence,
    "`decide` before: fallback over log-odds": fallback,
}  # fmt: skip


def _sorted(confidence: Array, wrong: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Confidences, ascending, and how many are wrong from each on."""
    order = np.argsort(confidence, kind="stable")
    return confidence[order], np.append(np.cumsum(wrong[order][::-1], dtype=float)[::-1], 0.0)


def _p_values(confidence: Array, wrong: npt.NDArray[np.bool_], grid: Array, risk: float) -> Array:
    values, errors = _sorted(confidence, wrong)
    first = np.searchsorted(values, grid)
    found: Array = binom.cdf(errors[first], len(values) - first, risk)
    return found


class Law:
    """A population of confidences, ascending, with the error rate of each; the risk of every threshold is exact."""

    def __init__(self, confidence: Array, error: Array) -> None:
        order = np.argsort(confidence, kind="stable")
        self.confidence, self.error = confidence[order], error[order]
        self.tail = np.cumsum(self.error[::-1])[::-1] / np.arange(len(order), 0, -1)

    def sample(self, m: int, rng: np.random.Generator) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Return the confidences of m examples, and which are wrong."""
        index = rng.integers(0, len(self.error), m)
        return self.confidence[index], rng.random(m) < self.error[index]

    def answered(self, threshold: float) -> tuple[float, float]:
        """Share above a threshold, and its risk (0 where nothing is answered)."""
        first = int(np.searchsorted(self.confidence, threshold, side="right"))
        share = 1 - first / len(self.confidence)
        return share, float(self.tail[first]) if share else 0.0

    def best(self, risk: float) -> float:
        """The largest share that any threshold answers with this risk."""
        allowed = np.append(self.tail <= risk, True)
        return 1 - int(allowed.argmax()) / len(self.confidence)


def calibrated(mean: float, spread: float) -> Law:
    """Two classes whose log-odds are normal, and whose confidences are true."""
    p = expit(np.random.default_rng(7).normal(mean, spread, POPULATION))
    confidence = np.maximum(p, 1 - p)
    return Law(confidence, 1 - confidence)


def uninformative(error: float) -> Law:
    """The same error rate at every confidence."""
    return Law(np.linspace(0.5, 1, POPULATION), np.full(POPULATION, error))


def waves(risk: float) -> Law:
    """Error rates that go up and down about the risk with confidence: many intervals of bad thresholds."""
    u = np.linspace(0, 1, POPULATION)
    return Law(u, np.clip(risk * (1.002 + 0.9 * np.sin(40 * u)), 0, 1))


def levels(risk: float) -> Law:
    """Eight confidences only, of which the highest are wrong too often: ties, and bad thresholds first."""
    level = np.arange(POPULATION) % 8
    error = np.array([0.0, 0.0, 2.0, 2.0, 2.0, 0.0, 1.1, 1.1])[level] * risk
    return Law(level / 8, error)


def measure(name: str, law: Law, m: int, risk: float, rule: str, repeats: int) -> None:
    """Append share answered and risk over validation sets, unless the results file has this case."""
    case = {"law": name, "rows": m, "risk": risk, "rule": rule}
    if any(all(r[key] == value for key, value in case.items()) for r in read(EXPERIMENT)):
        return
    rng = np.random.default_rng(m)
    found = np.array([law.answered(RULES[rule](*law.sample(m, rng), risk)) for _ in range(repeats)])
    shares, broken = found[:, 0], found[:, 1] > risk
    append(
        EXPERIMENT, **case, delta=DELTA, repeats=repeats,
        answered=round(float(shares.mean()), 4), answered_error=round(float(shares.std() / repeats**0.5), 4),
        none=round(float((shares == 0).mean()), 4), oracle=round(law.best(risk), 4),
        broken=round(float(broken.mean()), 4), broken_error=round(float((DELTA * (1 - DELTA) / repeats) ** 0.5), 4),
    )  # fmt: skip


POWER = [
    ("calibrated, log-odds N(1.5, 1.5)", calibrated(1.5, 1.5), 500, 0.05),
    ("calibrated, log-odds N(1.5, 1.5)", calibrated(1.5, 1.5), 1000, 0.05),
    ("calibrated, log-odds N(1.5, 1.5)", calibrated(1.5, 1.5), 2000, 0.05),
    ("calibrated, log-odds N(1.5, 1.5)", calibrated(1.5, 1.5), 500, 0.1),
    ("calibrated, log-odds N(1.5, 1.5)", calibrated(1.5, 1.5), 1000, 0.1),
    ("calibrated, log-odds N(2.5, 1.5)", calibrated(2.5, 1.5), 1000, 0.05),
    ("calibrated, log-odds N(3, 2)", calibrated(3, 2), 200, 0.05),
    ("confidence says nothing, 2 % wrong", uninformative(0.02), 1000, 0.05),
]
VALIDITY = [
    ("risk just above everywhere", uninformative(0.0501), 0.05),
    ("risk goes up and down", waves(0.05), 0.05),
    ("eight confidences, the highest bad", levels(0.05), 0.05),
]


def main() -> None:
    for name, law, m, risk in POWER:
        for rule in RULES:
            measure(name, law, m, risk, rule, 2000)
    for name, law, risk in VALIDITY:
        for m in (200, 1000):
            measure(name, law, m, risk, "ours", 10_000)


if __name__ == "__main__":
    main()
