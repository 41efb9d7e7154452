"""Learning-rate and KL schedules."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.config import TrainConfig
from bayespeft.training.schedule import blob_cycle, blob_weight, kl_weight, lr_factor


@given(st.integers(1, 500), st.floats(0, 1))
def test_learning_rate_rises_then_falls_within_bounds(total, warmup):
    factors = [lr_factor(TrainConfig(warmup=warmup), step, total) for step in range(total)]
    assert all(0 <= f <= 1 for f in factors)
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_learning_rate_at_known_steps():
    train = TrainConfig(warmup=0.1)
    assert lr_factor(train, 0, 100) == pytest.approx(0.1)
    assert lr_factor(train, 10, 100) == pytest.approx(1.0)
    assert lr_factor(train, 55, 100) == pytest.approx(0.5)
    assert lr_factor(train, 99, 100) == pytest.approx(1 / 90)
    assert lr_factor(TrainConfig(warmup=0), 0, 10) == 1.0


def test_a_constant_learning_rate_stays_at_its_peak():
    train = TrainConfig(warmup=0.1, lr_schedule="constant")
    assert [lr_factor(train, step, 100) for step in (4, 10, 99)] == pytest.approx([0.5, 1, 1])


@given(st.integers(1, 3000))
def test_blob_weights_of_a_cycle_sum_to_nearly_one(cycle):
    # Sum of 2^i, i = 1..M, over 2^(M + 1) - 1.
    expected = (1 - 2.0**-cycle) / (1 - 2.0 ** -(cycle + 1))
    assert math.fsum(blob_weight(step, cycle) for step in range(cycle)) == pytest.approx(expected)


def test_blob_weight_is_the_published_fraction_and_every_cycle_ends_heavy():
    """As Wang-ML-Lab/bayesian-peft does: its counter starts at 1, and takes M where the remainder is 0."""
    official = [2 ** (i % 10 or 10) / (2**11 - 1) for i in range(1, 31)]
    assert [blob_weight(step, 10) for step in range(30)] == pytest.approx(official)
    last_seven = math.fsum(blob_weight(step, 500) for step in range(493, 500))
    assert last_seven == pytest.approx(0.99, abs=0.005)


def test_blob_overweights_the_kl_as_published():
    for n, factor in ((640, 2.0), (9427, 10.4)):
        assert n / (blob_cycle(n, 4) * 4) == pytest.approx(factor / 4, rel=0.02)


def test_kl_weight_is_constant_or_warmed_up():
    assert [kl_weight(TrainConfig(kl_weight=0.3), s, 10, 50) for s in (0, 9)] == [0.3, 0.3]
    paced = TrainConfig(kl_warmup=0.5, kl_pace=400)
    assert [kl_weight(paced, s, 10, 100) for s in range(10)] == [kl_weight(paced, s, 10, 80) for s in range(10)]
    slow = [kl_weight(paced, s, 10, 50) for s in range(10)]
    assert slow == pytest.approx([*[(s + 1) / 8 for s in range(8)], 1.0, 1.0])
    # However few the rows, half as long again as the span, and no longer.
    assert [kl_weight(paced, s, 10, 1) for s in (0, 13, 14)] == pytest.approx([1 / 15, 14 / 15, 1.0])
    # A fold weighs the prior by its share of the rows, and rises as all rows will.
    fold = [kl_weight(paced.replace(kl_weight=0.5), s, 10, 25) / 25 for s in range(10)]
    assert fold == pytest.approx([weight / 50 for weight in slow])
    warmed = [kl_weight(TrainConfig(kl_warmup=0.5), s, 10, 50) for s in range(10)]
    assert warmed == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1])
    train = TrainConfig(kl_schedule="blob", batch_size=4)
    assert kl_weight(train, 5, 5000, 640) == pytest.approx(640 * blob_weight(5, blob_cycle(640, 4)))
