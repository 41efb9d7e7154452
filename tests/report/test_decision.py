from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from bayespeft.errors import ConfigError, DataError
from bayespeft.report.decision import Decision, controlled_threshold, decide, thresholds
from tests.report.predictions import predictive

# The guarantee, by simulation: the law is known, and so is the risk of every threshold


class Law:
    """Confidences on a few levels, each with its error rate; R(t) is exact."""

    def __init__(self, confidence: Any, share: Any, error: Any) -> None:
        self.confidence, self.share, self.error = (np.asarray(v, dtype=float) for v in (confidence, share, error))

    def risk(self, threshold: float) -> float:
        kept = self.confidence >= threshold
        return float((self.share * self.error)[kept].sum() / self.share[kept].sum())

    def sample(self, n: int, rng: np.random.Generator) -> Any:
        index = rng.choice(len(self.share), n, p=self.share)
        return self.confidence[index], (rng.random(n) >= self.error[index]).astype(float)


LEVELS = [0.99995, 0.999, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6]
LAWS = {
    # The worst case: no threshold keeps the risk, and none breaks it by more than a hair.
    "just above everywhere": Law(LEVELS, [1 / 8] * 8, [0.1001] * 8),
    "calibrated": Law(LEVELS, [1 / 8] * 8, [1 - c for c in LEVELS]),
    "risk is not monotone": Law(LEVELS, [1 / 8] * 8, [0.2, 0.02, 0.3, 0.05, 0.0, 0.2, 0.0, 0.4]),
    "all at one confidence": Law([0.99], [1.0], [0.1001]),
    "confidently wrong": Law(LEVELS, [1 / 8] * 8, [0.11, 0.11, 0.11, 0, 0, 0.5, 0.5, 0.5]),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("n", [60, 600])
def test_the_risk_is_above_its_bound_as_seldom_as_promised(name: str, n: int) -> None:
    """In at most delta of validation samples, within 4 standard errors of 800 of them."""
    law, delta, repeats = LAWS[name], 0.1, 800
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(repeats):
        threshold = controlled_threshold(*law.sample(n, rng), 2, risk=0.1, delta=delta)
        broken += math.isfinite(threshold) and law.risk(threshold) > 0.1
    assert broken / repeats <= delta + 4 * (delta * (1 - delta) / repeats) ** 0.5


def test_the_guarantee_costs_little_where_there_is_data() -> None:
    """A calibrated model, whose risk of answering all is 13 %."""
    law, rng = LAWS["calibrated"], np.random.default_rng(1)
    full = law.risk(0)
    assert full == pytest.approx(0.1326, abs=1e-3)
    assert controlled_threshold(*law.sample(2000, rng), 2, risk=0.2, delta=0.05) == 0
    kept = [controlled_threshold(*law.sample(2000, rng), 2, risk=0.05, delta=0.05) for _ in range(20)]
    assert all(0.7 <= threshold <= 0.95 for threshold in kept)
    assert all(law.risk(threshold) <= 0.05 for threshold in kept)


# Its parts


def test_a_rejection_is_clopper_and_pearsons_bound() -> None:
    """All examples at one confidence: answered iff the upper bound at the level of the threshold is below the risk."""
    starts = 7  # of two classes: log-odds 12, 10, ..., 0
    n, risk, delta = 200, 0.1, 0.05
    for wrong in range(25):
        correct = np.arange(n) >= wrong
        # Above the first start, so that every start sees all examples.
        found = controlled_threshold(np.full(n, 1 - 1e-9), correct.astype(float), 2, risk=risk, delta=delta)
        bound = beta.ppf(1 - delta / starts, wrong + 1, n - wrong)
        assert math.isfinite(found) == (bound <= risk)
        assert found in (0, math.inf)


def test_thresholds_fall_to_answering_everything() -> None:
    for classes in (1, 2, 20):
        grid = thresholds(classes)
        assert (np.diff(grid) < 0).all()
        assert grid[-1] == 0
        assert grid[-2] <= 1 / classes + 1e-12
        assert grid[0] == pytest.approx(1 / (1 + math.exp(-12)))


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 300), seed=st.integers(0, 100), risk=st.floats(0.01, 0.5), delta=st.floats(0.01, 0.5))
def test_more_is_answered_with_a_larger_risk_or_delta(n: int, seed: int, risk: float, delta: float) -> None:
    sample = LAWS["calibrated"].sample(n, np.random.default_rng(seed))
    found = controlled_threshold(*sample, 2, risk=risk, delta=delta)
    assert controlled_threshold(*sample, 2, risk=min(risk * 1.5, 0.9), delta=delta) <= found
    assert controlled_threshold(*sample, 2, risk=risk, delta=min(delta * 1.5, 0.9)) <= found


# The result


def test_answers_are_the_confident_predictions(simulate: Any) -> None:
    validation, test = simulate(2000, 3, sharpness=4, seed=0), simulate(500, 3, sharpness=4, seed=1)
    found = decide(predictive(test[0]), predictive(*validation), risk=0.1, delta=0.05)
    probs = np.exp(test[0])
    assert found.risk == 0.1
    assert 0.3 < found.coverage < 1
    assert found.confidence == pytest.approx(probs.max(1))
    assert (found.abstained == (probs.max(1) < found.threshold)).all()
    assert (found.answer[found.abstained] == -1).all()
    assert (found.answer == probs.argmax(1))[~found.abstained].all()
    assert (found.answer != test[1])[~found.abstained].mean() < 0.1
    kept = np.exp(validation[0]).max(1) >= found.threshold
    assert found.validated_answers == kept.sum()
    assert found.validated_errors == (validation[0].argmax(1) != validation[1])[kept].sum()
    text = str(found)
    assert (
        "the rule's error rate on new data of the same law is at most 10 %, with probability 95 % over validation data"
        in text
    )
    assert f"where confidence is at least {found.threshold:.6f}: " in text


def test_predictions_with_other_draws_are_refused(simulate: Any) -> None:
    log_probs, labels = simulate(10, 2)
    new = replace(predictive(log_probs), draws=3)
    with pytest.raises(ConfigError, match="data was predicted with 3 draws, and validation with 1"):
        decide(new, predictive(log_probs, labels), risk=0.1, delta=0.1)


def test_predictions_with_other_classes_are_refused(simulate: Any) -> None:
    with pytest.raises(ConfigError, match="data was predicted with 3 classes, and validation with 2"):
        decide(predictive(simulate(10, 3)[0]), predictive(*simulate(10, 2)), risk=0.1, delta=0.1)


def test_nan_is_never_an_answer(simulate: Any) -> None:
    """A confidence that is NaN is not below any threshold."""
    log_probs, labels = simulate(1000, 2, sharpness=20)
    broken = np.array(log_probs[:10])
    broken[3] = np.nan
    for data, validation in (
        (broken, log_probs),
        (log_probs, np.where(np.arange(1000)[:, None] == 3, np.nan, log_probs)),
    ):
        with pytest.raises(DataError, match="log_probs is NaN at row 3 of"):
            decide(predictive(data), predictive(validation, labels), risk=0.1, delta=0.1)


@pytest.mark.parametrize(("n", "risk"), [(5, 0.05), (500, 0.001)])
def test_what_can_not_be_promised_is_abstained_from(n: int, risk: float, simulate: Any) -> None:
    found = decide(predictive(simulate(10, 3)[0]), predictive(*simulate(n, 3, seed=1)), risk=risk, delta=0.05)
    assert found.abstained.all()
    assert (found.answer == -1).all()
    assert (found.risk, found.threshold, found.coverage) == (None, math.inf, 0)
    assert (found.validated, found.validated_answers, found.validated_errors) == (n, 0, 0)
    assert str(found).startswith(f"Abstains from all: {n} validation examples show no threshold")


def test_perfect_predictions_are_answered_whole() -> None:
    with np.errstate(divide="ignore"):
        logs = np.log(np.tile(np.eye(3), (100, 1)))
    found = decide(predictive(logs), predictive(logs, np.tile(np.arange(3), 100)), risk=0.05, delta=0.05)
    assert isinstance(found, Decision)
    assert (found.coverage, found.threshold, found.validated_errors) == (1, 0, 0)


def test_unusable_settings_are_errors(simulate: Any) -> None:
    log_probs, labels = simulate(10, 2)
    for name in ("risk", "delta"):
        for value in (0, 1):
            with pytest.raises(ConfigError, match=f"{name} is {value}"):
                decide(predictive(log_probs), predictive(log_probs, labels), **{"risk": 0.1, "delta": 0.1, name: value})
    with pytest.raises(DataError, match="of validation is missing"):
        decide(predictive(log_probs), predictive(log_probs), risk=0.1, delta=0.1)
    with pytest.raises(DataError, match="there is none"):
        controlled_threshold(np.empty(0), np.empty(0), 2, risk=0.1, delta=0.1)
