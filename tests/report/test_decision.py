from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bayespeft.errors import ConfigError, DataError
from bayespeft.predictive.normal import RegressionPredictive
from bayespeft.report.decision import Decision, decide, decide_quantities, decide_texts
from tests.report.predictions import predictive


def quantities(mean: Any, std: Any, labels: Any = None) -> RegressionPredictive:
    """A law of the posterior's mean, for n examples of d outputs: (n, d) each."""
    return RegressionPredictive(
        labels=None if labels is None else torch.as_tensor(labels).float(), draws=0, forward_passes=1, seconds=0.0,
        mean=torch.as_tensor(mean), epistemic=torch.as_tensor(std) ** 2 - 1e-6, noise=1e-3,
    )  # fmt: skip


# Classes


def test_answers_are_the_confident_predictions(simulate: Any) -> None:
    validation, test = simulate(2000, 3, sharpness=4, seed=0), simulate(500, 3, sharpness=4, seed=1)
    found = decide(predictive(test[0]), predictive(*validation), risk=0.1, delta=0.05)
    probs = np.exp(test[0])
    assert found.risk == 0.1
    assert 0.3 < found.coverage < 1
    assert found.certainty == pytest.approx(probs.max(1))
    (rule,) = found.rules
    assert (found.abstained == (probs.max(1) <= rule.threshold)).all()
    assert (found.answer[found.abstained] == -1).all()
    assert (found.answer == probs.argmax(1))[~found.abstained].all()
    assert (found.answer != test[1])[~found.abstained].mean() < 0.1
    kept = np.exp(validation[0]).max(1) > rule.threshold
    assert rule.answers == kept.sum()
    assert rule.errors == (validation[0].argmax(1) != validation[1])[kept].sum()
    text = str(found)
    assert (
        "the rule's error rate on new data of the same law is at most 10 %, with probability 95 % over validation data"
        in text
    )
    assert f"where confidence is above {rule.threshold:.6g}: " in text


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


@pytest.mark.parametrize(
    ("n", "risk", "why"),
    [(5, 0.05, "5 validation examples are too few: at least 61 are needed"),
     (500, 0.04, "Too many of the most certain 120 of 500 validation examples are wrong")],
)  # fmt: skip
def test_what_can_not_be_promised_is_abstained_from(n: int, risk: float, why: str, simulate: Any) -> None:
    found = decide(predictive(simulate(10, 3)[0]), predictive(*simulate(n, 3, seed=1)), risk=risk, delta=0.05)
    assert found.abstained.all()
    assert (found.answer == -1).all()
    assert (found.risk, found.rules[0].threshold, found.coverage) == (None, math.inf, 0)
    assert (found.rules[0].validated, found.rules[0].answers, found.rules[0].errors) == (n, 0, 0)
    assert str(found).startswith("Abstains from all.")
    assert why in str(found)


def test_a_temperature_changes_no_decision(simulate: Any) -> None:
    """Of two classes it is an increasing function of confidence."""
    validation, test = simulate(1000, 2, sharpness=3, seed=0), simulate(300, 2, sharpness=3, seed=1)
    found = []
    for temperature in (0.3, 1, 8):
        logs, new = (
            data / temperature - np.logaddexp.reduce(data / temperature, axis=1, keepdims=True)
            for data in (validation[0], test[0])
        )
        found.append(decide(predictive(new), predictive(logs, validation[1]), risk=0.1, delta=0.05))
    assert 0.2 < found[0].coverage < 1
    assert (found[0].answer == found[1].answer).all()
    assert (found[0].answer == found[2].answer).all()


def test_each_class_keeps_its_own_risk() -> None:
    """Class 1 is wrong three times in ten whatever its confidence: its answers are refused, the others given."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> Any:
        top = rng.integers(0, 3, n)
        confidence = rng.uniform(0.6, 0.99, n)
        probs = np.full((n, 3), 0.0) + ((1 - confidence) / 2)[:, None]
        probs[np.arange(n), top] = confidence
        wrong = rng.random(n) < np.where(top == 1, 0.3, 0.01)
        return np.log(probs), np.where(wrong, (top + 1) % 3, top)

    validation, test = draw(2000), draw(500)
    whole = decide(predictive(test[0]), predictive(*validation), risk=0.05, delta=0.1)
    found = decide(predictive(test[0]), predictive(*validation), risk=0.05, delta=0.1, per="class")
    top = test[0].argmax(1)
    assert whole.abstained.mean() > 0.5
    assert found.abstained[top == 1].all()
    assert found.coverage == pytest.approx((top != 1).mean())
    assert [rule.found for rule in found.rules] == [True, False, True]
    assert sum(rule.validated for rule in found.rules) == 2000
    assert "each rule's error rate" in str(found)
    assert "Class 1: Too many of the most certain" in str(found)
    named = replace(found, class_names=("one", "two", "three"))
    assert "two: Too many of the most certain" in str(named)
    assert named.names[:20] == tuple(None if k == 1 else ("one", "two", "three")[k] for k in top[:20])
    with pytest.raises(ConfigError, match="answers have no names here"):
        _ = found.names
    with pytest.raises(ConfigError, match="per='row'"):
        decide(predictive(test[0]), predictive(*validation), risk=0.05, delta=0.1, per="row")  # type: ignore[arg-type]


def test_a_class_that_is_never_predicted_gets_no_promise(simulate: Any) -> None:
    log_probs = np.log(np.tile([[0.9, 0.1]], (200, 1)))
    found = decide(predictive(log_probs), predictive(log_probs, [0] * 200), risk=0.1, delta=0.1, per="class")
    assert (found.rules[1].found, found.rules[1].validated) == (False, 0)
    assert "Class 1: 0 validation examples are too few" in str(found)


def test_perfect_predictions_are_answered_whole() -> None:
    with np.errstate(divide="ignore"):
        logs = np.log(np.tile(np.eye(3), (100, 1)))
    found = decide(predictive(logs), predictive(logs, np.tile(np.arange(3), 100)), risk=0.05, delta=0.05)
    assert isinstance(found, Decision)
    assert (found.coverage, found.rules[0].threshold, found.rules[0].errors) == (1, -math.inf, 0)
    assert "all of them" in str(found)


def test_unusable_settings_are_errors(simulate: Any) -> None:
    log_probs, labels = simulate(10, 2)
    for name in ("risk", "delta"):
        for value in (0, 1):
            with pytest.raises(ConfigError, match=f"{name} is {value}"):
                decide(predictive(log_probs), predictive(log_probs, labels), **{"risk": 0.1, "delta": 0.1, name: value})
    with pytest.raises(DataError, match="of validation is missing"):
        decide(predictive(log_probs), predictive(log_probs), risk=0.1, delta=0.1)


# Quantities


def test_quantities_are_answered_where_their_law_is_narrow() -> None:
    rng = np.random.default_rng(0)

    def draw(n: int) -> Any:
        std = rng.uniform(0.1, 2, (n, 2))
        return rng.normal(size=(n, 2)), std

    (mean, std), (new, wide) = draw(2000), draw(400)
    labels = mean + std * rng.normal(size=mean.shape)
    found = decide_quantities(
        quantities(new, wide), quantities(mean, std, labels), risk=0.1, delta=0.05, tolerance=[1, 2]
    )
    width = (wide / [1, 2]).max(1)
    assert found.certainty == pytest.approx(-width, abs=1e-5)
    assert 0.1 < found.coverage < 0.9
    assert (found.abstained == (-found.certainty >= -found.rules[0].threshold)).all()
    assert np.isnan(found.answer[found.abstained]).all()
    assert (found.answer == new)[~found.abstained].all()
    # By the normal law the answers' error rate on new data is known.
    off = np.abs(wide * rng.normal(size=(500, 400, 2))) > [1, 2]
    assert off.any(2)[:, ~found.abstained].mean() < 0.1
    assert "minus the standard deviation over the tolerance is above -" in str(found)


def test_an_answer_that_is_off_by_just_the_tolerance_is_right() -> None:
    mean = np.arange(400.0).reshape(-1, 1)
    std = np.ones_like(mean)
    for off, answered in ((0.5, 1.0), (0.75, 0.0)):
        seen = quantities(mean, std, mean + off)
        assert decide_quantities(seen, seen, risk=0.1, delta=0.05, tolerance=0.5).coverage == answered


def test_settings_of_quantities_that_can_not_be_used_are_errors() -> None:
    one = quantities(np.zeros((3, 2)), np.ones((3, 2)), np.zeros((3, 2)))
    for tolerance in (0, -1, math.nan, [1, 2, 3], [1, 0], "near"):
        with pytest.raises(
            ConfigError, match="one positive number in the targets' units, or one for each of 2 outputs"
        ):
            decide_quantities(one, one, risk=0.1, delta=0.1, tolerance=tolerance)
    with pytest.raises(DataError, match="of validation is missing"):
        decide_quantities(one, replace(one, labels=None), risk=0.1, delta=0.1, tolerance=1)
    other = quantities(np.zeros((3, 1)), np.ones((3, 1)))
    with pytest.raises(ConfigError, match="data was predicted with 1 outputs, and validation with 2"):
        decide_quantities(other, one, risk=0.1, delta=0.1, tolerance=1)


# Texts


def test_texts_are_answered_where_their_score_is_high() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=1000)
    correct = rng.random(1000) < 1 / (1 + np.exp(-3 - 2 * score))
    found = decide_texts(["a", "b", "c"], [2.0, -3.0, 1.5], score, correct, risk=0.05, delta=0.05)
    assert found.answer.tolist() == ["a", None, "c"]
    assert "where the score is above" in str(found)
    with pytest.raises(DataError, match=r"3 texts have scores of shape \(2,\)"):
        decide_texts(["a", "b", "c"], [2.0, 1], score, correct, risk=0.05, delta=0.05)
    with pytest.raises(DataError, match="none of them NaN"):
        decide_texts(["a", "b", "c"], [2.0, math.nan, 1.5], score, correct, risk=0.05, delta=0.05)
    with pytest.raises(DataError, match="true or false for each validation text"):
        decide_texts(["a"], [2.0], score, score, risk=0.05, delta=0.05)
