from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from bayespeft.errors import ConfigError, DataError
from bayespeft.report.selection import ALL, Rule, allowances, controlled, fewest

# The guarantee, by simulation: the law is known, and so is the risk of every threshold


class Law:
    """Certainties on a few levels, each with its error rate; within a level they are spread, or all the same."""

    def __init__(self, share: Any, error: Any, ties: bool) -> None:
        self.share, self.error, self.ties = np.asarray(share, dtype=float), np.asarray(error, dtype=float), ties

    def risk(self, threshold: float) -> float:
        """P(wrong | certainty > threshold): certainty is level + U(0, 1), or level, and levels fall from 0."""
        level = -np.arange(len(self.share), dtype=float)
        above = (level > threshold) * 1.0 if self.ties else np.clip(level + 1 - threshold, 0, 1)
        kept = self.share * above
        return float((kept * self.error).sum() / kept.sum())

    def sample(self, n: int, rng: np.random.Generator) -> Any:
        index = rng.choice(len(self.share), n, p=self.share)
        return -index + (0.0 if self.ties else rng.random(n)), rng.random(n) < self.error[index]


EVEN = [1 / 8] * 8
LAWS = {
    # The worst case: no threshold keeps the risk, and none breaks it by more than a hair.
    "just above everywhere": (EVEN, [0.1001] * 8),
    "rising": (EVEN, [0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4]),
    "risk is not monotone": (EVEN, [0.2, 0.02, 0.3, 0.05, 0.0, 0.2, 0.0, 0.4]),
    "all at one level": ([1.0], [0.1001]),
    "confidently wrong": (EVEN, [0.11, 0.11, 0.11, 0, 0, 0.5, 0.5, 0.5]),
    "a little of the worst first": ([0.06, 0.94], [0.5, 0.0746]),
}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("n", [60, 600])
def test_the_risk_is_above_its_bound_as_seldom_as_promised(name: str, n: int, ties: bool) -> None:
    """In at most delta of validation samples, within 4 standard errors of 600 of them."""
    law, delta, repeats = Law(*LAWS[name], ties), 0.1, 600
    rng = np.random.default_rng(0)
    broken = 0
    for seed in range(repeats):
        rule = controlled(*law.sample(n, rng), risk=0.1, delta=delta, seed=seed)
        broken += rule.found and law.risk(max(rule.threshold, -100)) > 0.1
    assert broken / repeats <= delta + 4 * (delta * (1 - delta) / repeats) ** 0.5


@pytest.mark.parametrize("n", [500, 2000])
def test_it_answers_much_of_what_could_be_answered(n: int) -> None:
    """Of "rising", thresholds that keep 5 % answer 67 % (errors rise within the fifth level only): on average at least half.

    Power can fall through chance: within 4 standard errors of 50 samples.
    """
    law, rng = Law(*LAWS["rising"], False), np.random.default_rng(1)
    best = max(share for share in np.linspace(0.01, 1, 100) if law.risk(1 - 8 * share) <= 0.05)
    answered = []
    for _ in range(50):
        rule = controlled(*law.sample(n, rng), risk=0.05, delta=0.05)
        answered.append((1 - max(rule.threshold, -7)) / 8 if rule.found else 0.0)
    assert np.mean(answered) + 4 * np.std(answered) / 50**0.5 < 1
    assert np.mean(answered) > 0.6 * best


def test_errors_that_certainty_does_not_tell_do_not_stop_the_answering() -> None:
    """2 % are wrong at every certainty: a thousand examples show 5 % for all of them, in 24 of 25 samples or more."""
    rng = np.random.default_rng(2)
    rules = [controlled(rng.random(1000), rng.random(1000) < 0.02, risk=0.05, delta=0.05) for _ in range(50)]
    assert sum(rule.threshold == -math.inf for rule in rules) >= 48


# Ranks


@given(n=st.integers(1, 400), seed=st.integers(0, 100), risk=st.floats(0.02, 0.5), scale=st.floats(0.01, 50))
def test_the_rule_is_the_same_for_any_increasing_function_of_certainty(
    n: int, seed: int, risk: float, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    certainty = rng.normal(size=n).round(2)
    wrong = rng.random(n) < 0.3 / (1 + np.exp(2 * certainty))
    new = rng.normal(size=50)
    first = controlled(certainty, wrong, risk=risk, delta=0.1)
    again = controlled(np.expm1(scale * certainty / 5), wrong, risk=risk, delta=0.1)
    assert (first(new) == again(np.expm1(scale * new / 5))).all()
    assert (first.answers, first.errors) == (again.answers, again.errors)


def test_a_group_of_equal_certainties_is_never_parted() -> None:
    rng = np.random.default_rng(3)
    certainty = rng.integers(0, 6, 600).astype(float)
    for seed in range(20):
        rule = controlled(certainty, rng.random(600) < 0.12 - 0.02 * certainty, risk=0.08, delta=0.1, seed=seed)
        assert rule.answers == rule(certainty).sum()
        assert rule.threshold in (-math.inf, math.inf, 0, 1, 2, 3, 4)


def test_infinite_certainties_are_answered_like_others() -> None:
    certainty = np.repeat([-math.inf, math.inf], 200)
    rule = controlled(certainty, np.zeros(400, bool), risk=0.05, delta=0.05)
    assert (rule.threshold, rule(certainty).all()) == (-math.inf, True)
    rule = controlled(certainty, certainty < 0, risk=0.05, delta=0.05)
    assert (rule.answers, rule.errors) == (200, 0)
    assert (rule(certainty) == (certainty > 0)).all()


# Its parts


@pytest.mark.parametrize("risk", [0.03, 0.1, 0.4])
def test_allowances_are_clopper_and_pearsons_bound(risk: float) -> None:
    delta, found = 0.05, allowances(150, risk, 0.05)
    for n, most in enumerate(found, 1):
        bound = [beta.ppf(1 - delta, e + 1, n - e) if e < n else 1.0 for e in range(n + 1)]
        assert most == sum(b <= risk for b in bound) - 1
    assert int((found < 0).sum()) + 1 == fewest(risk, delta)


def test_everything_is_answered_at_a_tenth_of_the_level_or_after_all_steps() -> None:
    """All certainties are the same: only the first rank and all of them are tested."""
    n, risk, delta = 200, 0.1, 0.05
    for errors in range(25):
        rng = np.random.default_rng(errors)
        wrong = rng.permutation(n) < errors
        rule = controlled(np.ones(n), wrong, risk=risk, delta=delta)
        if binom.cdf(errors, n, risk) <= ALL * delta:
            assert rule == Rule(-math.inf, n, n, errors, rule.tested, rule.needed)
        elif binom.cdf(errors, n, risk) > delta:
            assert rule.threshold == math.inf


def test_what_can_not_be_promised_is_said() -> None:
    rule = controlled(np.arange(30.0), np.zeros(30, bool), risk=0.05, delta=0.05)
    assert rule == Rule(math.inf, 30, 0, 0, 0, 61)
    assert not rule(np.arange(30.0)).any()
    assert controlled(np.arange(61.0), np.zeros(61, bool), risk=0.05, delta=0.05).answers == 61


def test_unusable_arguments_are_errors() -> None:
    with pytest.raises(DataError, match="there is none"):
        controlled([], [], risk=0.1, delta=0.1)
    with pytest.raises(DataError, match="certainty of validation example 1 is NaN"):
        controlled([0.1, math.nan], [True, False], risk=0.1, delta=0.1)
    with pytest.raises(DataError, match=r"shape \(2,\) and errors \(1,\)"):
        controlled([0.1, 0.2], [True], risk=0.1, delta=0.1)
    for name in ("risk", "delta"):
        for value in (0, 1, math.nan):
            with pytest.raises(ConfigError, match=f"{name} is {value}"):
                controlled([0.5], [True], **{"risk": 0.1, "delta": 0.1, name: value})
