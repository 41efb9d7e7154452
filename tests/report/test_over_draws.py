from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bayespeft.errors import DataError
from bayespeft.report import metrics
from bayespeft.report.metrics.spec import table
from bayespeft.report.over_draws import over_draws

FIGURES = [spec.name for spec in table() if not spec.of_labels]


def draws(size: int, n: int, classes: int = 3, spread: float = 1.0, seed: int = 0) -> Any:
    """Draws around fixed logits, and labels from the mean's probabilities."""
    rng = np.random.default_rng(seed)
    centre = 1.5 * rng.normal(size=(n, classes))
    labels = (centre + rng.gumbel(size=centre.shape)).argmax(axis=1)
    logits = centre + spread * rng.normal(size=(size, n, classes))
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True), labels


def average(logs: Any) -> Any:
    return np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))


@pytest.mark.parametrize(
    ("size", "numbers"),
    [(1, [1]), (2, [1, 2]), (10, [1, 2, 5, 10]), (12, [1, 2, 5, 10, 12]), (30, [1, 2, 5, 10, 20, 30])],
)
def test_figures_by_draws_are_means_over_blocks(size: int, numbers: list[int]) -> None:
    logs, labels = draws(size, 40)
    found = over_draws(logs, labels)
    assert [row.draws for row in found.by_draws] == numbers
    for row in found.by_draws:
        blocks = [average(logs[i : i + row.draws]) for i in range(0, size - row.draws + 1, row.draws)]
        for name in ("accuracy", "nll", "ece", "brier"):
            expected = np.mean([getattr(metrics, name)(block, labels) for block in blocks])
            assert row.metrics[name] == pytest.approx(expected, abs=1e-5), name


def test_averaging_more_draws_never_hurts_a_proper_score_on_average() -> None:
    """Jensen: both scores are convex in the probabilities, and the blocks of 1 make up those of 2."""
    rows = over_draws(*draws(20, 100)).by_draws
    assert [row.draws for row in rows] == [1, 2, 5, 10, 20]
    for name in ("nll", "brier"):
        values = [row.metrics[name] for row in rows]
        assert values[0] > values[1] > values[3] > values[4]


def test_jackknife_agrees_with_the_spread_over_other_draws() -> None:
    """For NLL and Brier score: the mean of its variance over repeats, within 4 standard errors of both."""
    size, repeats = 10, 100
    values, variances = {name: [] for name in ("nll", "brier")}, {name: [] for name in ("nll", "brier")}
    centre, labels = draws(1, 60)
    rng = np.random.default_rng(1)
    for _ in range(repeats):
        logits = centre + rng.normal(size=(size, 60, 3))
        logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        errors = over_draws(logs, labels).errors
        assert errors is not None
        for name in values:
            values[name].append(getattr(metrics, name)(average(logs), labels))
            variances[name].append(errors[name] ** 2)
    for name in values:
        true, found = np.var(values[name], ddof=1), np.mean(variances[name])
        error = np.hypot(true * (2 / (repeats - 1)) ** 0.5, np.std(variances[name]) / repeats**0.5)
        # The jackknife's own bias, of order 1 / draws, is upwards.
        assert -4 * error < found - true < 4 * error + 0.15 * true, name


def test_jackknife_of_two_draws_by_hand() -> None:
    logs, labels = draws(2, 30)
    errors = over_draws(logs, labels).errors
    assert errors is not None
    assert set(errors) == set(FIGURES)
    for name in set(FIGURES) - {"refusal_gain"}:
        found, _, at = name.partition(".")
        part = found.removeprefix("brier_")
        if part != found:
            one, two = (metrics.brier_parts(log, labels)[part] for log in logs)
        else:
            one, two = (getattr(metrics, found)(log, labels, *([float(at)] if at else [])) for log in logs)
        assert errors[name] == pytest.approx(abs(one - two) / 2, abs=1e-5), name


def test_units_are_left_out_together() -> None:
    """Pairs of a draw and itself are as many independent draws as there are pairs."""
    logs, labels = draws(5, 30)
    single, pairs = over_draws(logs, labels).errors, over_draws(np.repeat(logs, 2, axis=0), labels, unit=2).errors
    assert single == pytest.approx(pairs, abs=1e-6)


def test_equal_draws_have_no_error_and_dependent_ones_have_none_known() -> None:
    logs, labels = draws(1, 30)
    for copies in (4, 7, 10):  # the mean of seven equal numbers is rounded
        assert over_draws(np.repeat(logs, copies, axis=0), labels).errors == dict.fromkeys(FIGURES, 0.0)
    assert over_draws(logs, labels).errors is None, "one draw"
    assert over_draws(np.repeat(logs, 4, axis=0), labels, unit=None).errors is None


def test_what_no_draw_defines_has_no_error() -> None:
    with np.errstate(divide="ignore"):
        certain = np.log(np.tile(np.eye(2), (3, 1, 1)))
    errors = over_draws(certain, [0, 1]).errors
    assert errors is not None
    assert "error_auroc" not in errors
    assert errors["nll"] == 0


def test_unusable_draws_are_errors() -> None:
    for logs in (np.zeros((3, 1)), np.zeros((0, 3, 1))):
        with pytest.raises(DataError, match=r"\(draws, examples, classes\) is expected"):
            over_draws(logs, [0, 0, 0])
