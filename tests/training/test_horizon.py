"""When a run has gone far enough: the rules on curves whose right answer is plain."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.config import TrainConfig
from bayespeft.training.horizon import (
    FIRST_LOOK,
    MOST_EPOCHS,
    SPAN,
    judge,
    judge_training,
    looks,
    margin,
    resolved,
    upper_bound,
)

MOST = 2000


def walk(curve, most=MOST):
    """Show a rule one look after another, as training does; return its last verdict and the step it came at."""
    seen = []
    for step in looks(most):
        seen.append(step)
        verdict = judge(seen, [curve(s) for s in seen], most)
        if verdict.reason is not None:
            return verdict, step
    raise AssertionError("a rule that never ends")


def test_looks_grow_by_a_constant_factor_and_end_at_the_bound():
    found = looks(MOST)
    assert found[0] == FIRST_LOOK
    assert found[-1] == MOST
    ratios = [b / a for a, b in pairwise(found[:-1])]
    assert max(ratios) < 1.25
    assert min(ratios) > 1.15


@pytest.mark.parametrize("turn", [40, 150, 600])
def test_a_curve_that_turns_up_ends_soon_after_and_names_its_lowest_point(turn):
    verdict, ended = walk(lambda step: 0.5 + 0.1 * math.log(step / turn) ** 2)
    assert verdict.reason == "later states were worse"
    assert 0.7 * turn < verdict.best < 1.3 * turn
    assert ended < 3.2 * turn + 180


def test_a_curve_that_flattens_has_settled():
    verdict, ended = walk(lambda step: 0.4 + 0.5 * math.exp(-step / 30))
    assert verdict.reason == "settled"
    assert 0.5 * math.exp(-verdict.best / 30) < 4 * margin(0.4)
    assert ended < 700


def test_a_curve_that_goes_on_falling_is_not_settled():
    verdict, ended = walk(lambda step: 3 - 0.3 * math.log(step))
    assert (verdict.reason, verdict.best, ended) == ("not settled", MOST, MOST)


@given(nlls=st.lists(st.floats(0.01, 5), min_size=1, max_size=30))
def test_the_best_step_is_as_good_as_any_within_what_counts(nlls):
    steps = looks(10**4)[: len(nlls)]
    verdict = judge(steps, nlls, 10**4)
    assert nlls[steps.index(verdict.best)] <= min(nlls) + margin(max(nlls))


@given(nll=st.floats(-1e12, 1e12))
def test_an_nll_of_any_units_is_told_apart_by_hundredths_of_a_nat(nll):
    assert 0.003 <= margin(nll) <= 0.02


def test_the_training_nll_settles():
    def at(curve):
        seen = []
        for step in looks(MOST):
            seen.append(step)
            verdict = judge_training(seen, [curve(s) for s in seen], MOST)
            if verdict.reason is not None:
                return verdict
        raise AssertionError

    settled = at(lambda step: math.exp(-step / 50))
    assert settled.reason == "settled"
    assert SPAN / 2 <= settled.best <= 700
    assert at(lambda step: 5 - 0.5 * math.log(step)).reason == "not settled"


def test_the_schedule_of_a_run_that_decides_its_length_does_not_depend_on_it():
    train = TrainConfig(steps="auto", kl_warmup=0.5)
    assert resolved(train, 77) == TrainConfig(steps=77, kl_warmup=0.5, span=SPAN, lr_schedule="constant")
    assert resolved(train.replace(span=100), 77).span == 100
    assert upper_bound(train, 10.0) == train.most_steps
    assert upper_bound(train, 6250.0) == MOST_EPOCHS * 6250


def test_looks_end_once_where_the_first_is_the_bound():
    assert looks(20) == [20]


def test_the_last_look_says_whether_later_states_were_worse():
    steps = [20, 40, 60, 80, 100, 120, 140]
    nlls = [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9]
    assert judge(steps, nlls, 1000).reason == "later states were worse"
    assert judge(steps, [*nlls[:-2], 0.9, 0.5], 1000).reason == "settled"


def test_a_training_nll_is_not_judged_before_half_a_span():
    assert judge_training([100, 200], [1.0, 1.0], 1000).reason == "settled"
    assert judge_training([99, 199], [1.0, 1.0], 1000).reason is None


def test_of_a_large_training_nll_a_share_is_no_longer_little():
    assert judge_training([200, 400], [4.0, 3.9], 1000).reason is None
    assert judge_training([200, 400], [4.0, 3.96], 1000).reason == "settled"
    # A change of exactly what counts is one.
    assert judge_training([200, 400], [0.01, 0.0], 1000).reason is None
