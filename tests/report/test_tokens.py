"""Figures of tokens and entities: closed forms, spans by hand, intervals that go by rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from bayespeft.errors import DataError
from bayespeft.report import TokenReport
from bayespeft.report.entities import is_scheme, spans, told

NAMES = ("O", "B-A", "I-A", "B-B", "I-B")
OPTIONS = {"resamples": 50}


def law(rows: int, seed: int = 0, truth: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities of five classes at one to six tokens a row, labels of a law that is `truth` times as sure, owners."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(rows), rng.integers(1, 7, rows))
    logits = 2 * rng.normal(size=(len(owner), 5))
    probs = np.exp(truth * logits)
    probs /= probs.sum(1, keepdims=True)
    labels = (rng.random((len(owner), 1)) > probs.cumsum(1)).sum(1).clip(0, 4)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True)), labels, owner


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", []),
        ("B-A I-A O B-B", [(0, 2, "A"), (3, 4, "B")]),
        ("B-A B-A I-A", [(0, 1, "A"), (1, 3, "A")]),
        ("I-A I-A O I-B", [(0, 2, "A"), (3, 4, "B")]),  # a tag inside that follows none of its type begins
        ("B-A I-B", [(0, 1, "A"), (1, 2, "B")]),
        ("B-A I-A E-A I-A", [(0, 3, "A"), (3, 4, "A")]),
        ("S-A S-A U-B L-B", [(0, 1, "A"), (1, 2, "A"), (2, 3, "B"), (3, 4, "B")]),
        ("B-A-C I-A-C", [(0, 2, "A-C")]),
    ],
)
def test_spans_are_those_of_the_scheme(tags, expected):
    assert spans(tags.split()) == expected


@given(st.lists(st.sampled_from(NAMES), max_size=12))
def test_spans_part_what_is_tagged(tags):
    found = spans(tags)
    inside = [i for first, behind, _ in found for i in range(first, behind)]
    assert inside == [i for i, tag in enumerate(tags) if tag != "O"]
    for first, behind, kind in found:
        assert {tag[2:] for tag in tags[first:behind]} == {kind}
        assert all(tag[0] == "I" for tag in tags[first + 1 : behind])


def test_only_tags_of_entities_are_a_scheme():
    assert is_scheme(NAMES)
    assert is_scheme(("B-X", "I-X", "O"))
    for names in ((), ("O",), ("NOUN", "VERB"), ("O", "NOUN"), ("B-X", "I-X"), ("O", "B-")):
        assert not is_scheme(names)
    assert told(["NOUN", "VERB"], ["a", "b"]) == "NOUN VERB"
    assert told(["O", "B-X", "I-X"], ["at", "New", "York"]) == "X New York"
    assert told(["O", "O"], None) == "no entity"


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


def test_entities_are_right_where_span_and_type_are():
    rows = [("B-A I-A O", "B-A I-A O"), ("B-A I-A O", "B-A O O"), ("O B-B B-B", "O B-B O"), ("O O O", "B-B O O")]
    y = np.array([NAMES.index(tag) for true, _ in rows for tag in true.split()])
    guessed = np.array([NAMES.index(tag) for _, found in rows for tag in found.split()])
    sure = np.where(np.arange(12) < 6, 0.9, 0.6)
    probs = np.full((12, 5), 0.0) + ((1 - sure) / 4)[:, None]
    probs[np.arange(12), guessed] = sure
    report = TokenReport.from_log_probs(np.log(probs), y, np.repeat(np.arange(4), 3), 4, names=NAMES, **OPTIONS)
    first, second = report.entities.by_type
    assert (first.name, first.n, first.predicted) == ("A", 2, 2)
    assert (first.precision.value, first.recall.value, first.f1) == (0.5, 0.5, 0.5)
    assert first.probability == pytest.approx((0.81 + 0.9) / 2)
    assert (second.n, second.predicted, second.precision.value, second.recall.value) == (2, 2, 0.5, 0.5)
    assert second.probability == pytest.approx(0.6)
    assert report.entities.f1.value == pytest.approx(2 * 2 / (4 + 4))
    assert TokenReport.from_log_probs(np.log(probs), y, np.repeat(np.arange(4), 3), 4, **OPTIONS).entities is None


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
