"""Figures of tokens and entities: closed forms, spans by hand, intervals that go by rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from bayespeft.errors import DataError
from bayespeft.report import TokenReport
from tests.report.tagged import NAMES, OPTIONS


def law(rows: int, seed: int = 0, truth: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities of five classes at one to six tokens a row, labels of a law that is `truth` times as sure, owners."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(rows), rng.integers(1, 7, rows))
    logits = 2 * rng.normal(size=(len(owner), 5))
    probs = np.exp(truth * logits)
    probs /= probs.sum(1, keepdims=True)
    labels = (rng.random((len(owner), 1)) > probs.cumsum(1)).sum(1).clip(0, 4)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True)), labels, owner


def test_figures_are_those_of_the_tokens():
    logs, y, owner = law(80)
    report = TokenReport.from_log_probs(logs, y, owner, 80, names=NAMES, **OPTIONS)
    top = logs.argmax(1)
    assert report.accuracy.value == pytest.approx((top == y).mean())
    assert report.nll_per_token.value == pytest.approx(metrics.log_loss(y, np.exp(logs), labels=range(5)))
    assert report.nll.value == pytest.approx(report.nll_per_token.value * len(y) / 80)
    rates = np.bincount(y, minlength=5) / len(y)
    assert report.base_nll == pytest.approx(-(rates * np.log(rates)).sum())
    assert report.skill.value == pytest.approx(1 - report.nll_per_token.value / report.base_nll)
    assert report.brier.value == pytest.approx(((np.exp(logs) - np.eye(5)[y]) ** 2).sum(1).mean())
    confidence = np.exp(logs).max(1)
    place = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(((top == y) - confidence)[place == b].sum()) for b in range(15)]
    assert report.ece.value == pytest.approx(sum(gaps) / len(y))
    assert [own.name for own in report.by_class.figures] == list(NAMES)


def test_verdicts_name_what_is_wrong():
    def kind(rows, **settings):
        logs, y, owner = law(rows, **settings)
        return TokenReport.from_log_probs(logs, y, owner, rows, **OPTIONS).verdict.kind

    assert kind(1500) == "calibrated"
    assert kind(1500, truth=0.4) == "over"
    assert kind(1500, truth=2.5) == "under"
    assert kind(6) == "too_few"


def test_rows_of_one_token_many_times_say_no_more_than_one():
    """Copies of a token in its row must not narrow the interval."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(300, 5))
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    y = np.array([rng.choice(5, p=p / p.sum()) for p in np.exp(logs)])
    one = TokenReport.from_log_probs(logs, y, np.arange(300), 300, resamples=400)
    many = TokenReport.from_log_probs(
        np.repeat(logs, 8, 0), np.repeat(y, 8), np.repeat(np.arange(300), 8), 300, resamples=400
    )
    for name in ("accuracy", "nll_per_token", "ece", "skill"):
        single, several = getattr(one, name), getattr(many, name)
        assert several.value == pytest.approx(single.value)
        assert several.high - several.low == pytest.approx(single.high - single.low, rel=0.2)


def test_intervals_cover_what_endlessly_many_rows_would_give():
    """Tokens of a row share a shift that the predictions don't know."""
    rng = np.random.default_rng(1)

    def drawn(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        owner = np.repeat(np.arange(rows), rng.integers(1, 9, rows))
        logits = rng.normal(size=(len(owner), 3))
        shift = rng.normal(size=(rows, 3))[owner]
        noise = rng.gumbel(size=logits.shape)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True)), (logits + shift + noise).argmax(1), owner

    truth = TokenReport.from_log_probs(*drawn(30_000), 30_000, resamples=5)
    covered = []
    for seed in range(60):
        report = TokenReport.from_log_probs(*drawn(120), 120, resamples=200, seed=seed)
        names = ("accuracy", "nll", "nll_per_token", "brier", "ece")
        pairs = [(getattr(report, name), getattr(truth, name).value) for name in names]
        covered.append([metric.low <= value <= metric.high for metric, value in pairs])
    # Of 60 intervals that cover 95 of 100 times, 50 or fewer cover with a probability below 1 in 1000.
    assert (np.sum(covered, axis=0) > 50).all()


def test_bad_input_is_named():
    logs, y, owner = law(5)
    with pytest.raises(DataError, match="must be one row of 4"):
        TokenReport.from_log_probs(logs, y, owner, 4)
    with pytest.raises(DataError, match="ascending"):
        TokenReport.from_log_probs(logs, y, owner[::-1], 5)
    with pytest.raises(DataError, match=r"label -100 is not in 0\.\.4"):
        TokenReport.from_log_probs(logs, np.where(np.arange(len(y)) == 1, -100, y), owner, 5)
