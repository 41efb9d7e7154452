"""Scores and quantiles of conformal sets, by hand and by their law."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.errors import ConfigError, DataError
from bayespeft.report.metrics.conformal import class_scores, quantile


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=40), alpha=st.floats(0.01, 0.99))
def test_quantile_is_the_smallest_value_with_enough_below(values: list[float], alpha: float) -> None:
    found = quantile(values, alpha)
    needed = (len(values) + 1) * (1 - alpha) - 1e-9
    if math.isinf(found):
        assert needed > len(values)
    else:
        assert sum(v <= found for v in values) >= needed
        assert sum(v < found for v in values) < needed


def test_quantile_of_whole_ranks_is_not_rounded_up() -> None:
    """(9 + 1) * (1 - 0.1) is 9 exactly, and 8 examples can't promise 90 %."""
    assert quantile(np.arange(9), 0.1) == 8
    assert quantile(np.arange(8), 0.1) == math.inf
    assert quantile(np.arange(19), 0.05) == 18


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5])
def test_alpha_out_of_range_is_an_error(alpha: float) -> None:
    with pytest.raises(ConfigError, match=f"alpha is {alpha}"):
        quantile([0.5], alpha)


def test_no_scores_are_an_error() -> None:
    for values in ([], [np.nan]):
        with pytest.raises(DataError, match="at least one validation example"):
            quantile(values, 0.1)


def test_scores_by_hand() -> None:
    probs, half = np.array([[0.2, 0.5, 0.3]]), np.array([0.5])
    assert class_scores(probs, "lac", half) == pytest.approx(np.array([[0.8, 0.5, 0.7]]))
    assert class_scores(probs, "aps", half) == pytest.approx(np.array([[0.9, 0.25, 0.65]]))
    assert class_scores(np.array([[0.5, 0.5]]), "aps", half) == pytest.approx(np.array([[0.25, 0.75]]))
    many = np.array([[0.1, 0.2, 0.05, 0.15, 0.25, 0.12, 0.13]])
    # By falling probability these are the ranks 6, 2, 7, 3, 1, 5, 4: two classes are beyond the five that are free.
    penalties = np.array([[0.01, 0, 0.02, 0, 0, 0, 0]])
    assert class_scores(many, "raps", half) == pytest.approx(class_scores(many, "aps", half) + penalties)
    assert class_scores(probs, "raps", half) == pytest.approx(class_scores(probs, "aps", half))
    with pytest.raises(ConfigError, match="method='saps' is none of lac, aps, raps"):
        class_scores(probs, "saps", half)


def test_aps_scores_of_a_true_law_are_uniform() -> None:
    """The randomised score is the probability integral transform: mean 1/2, variance 1/12, within 4 standard errors."""
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(4), 4000)
    labels = np.array([rng.choice(4, p=p) for p in probs])
    own = class_scores(probs, "aps", rng.random(4000))[np.arange(4000), labels]
    assert own.mean() == pytest.approx(0.5, abs=4 * (1 / 12 / 4000) ** 0.5)
    assert (own**2).mean() == pytest.approx(1 / 3, abs=4 * (4 / 45 / 4000) ** 0.5)
