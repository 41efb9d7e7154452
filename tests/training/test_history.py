"""Histories: one after another, there and back as JSON, and why a run ended, in words."""

from __future__ import annotations

import json

import pytest

from bayespeft.training.history import Ended, History, Record


def record(step, **more):
    return Record(
        step=step, epoch=step / 10, loss=1.0, nll=0.9, kl=2.0, prior=0.0, kl_weight=1.0, seconds=step / 2, **more
    )


def test_steps_epochs_and_seconds_go_on_counting():
    first = History([record(5), record(10)], 10, 5.0, 100, 0.5)
    later = History([record(4)], 4, 2.0, 300, 0.25, Ended("settled", 4))
    both = first.then(later)
    assert [(r.step, r.epoch, r.seconds) for r in both.records] == [(5, 0.5, 2.5), (10, 1.0, 5.0), (14, 1.4, 7.0)]
    assert (both.steps, both.seconds, both.peak_memory_bytes, both.refresh_seconds) == (14, 7.0, 300, 0.75)
    assert both.ended == Ended("settled", 4)
    assert first.records[0].step == 5, "what comes before stays as it was"


def test_nothing_before_or_behind_changes_nothing_and_memory_may_be_unknown():
    some = History([record(5)], 5, 1.0, None, 0.0, Ended("not settled", 5))
    assert History().then(some) == some.then(History()) == some
    assert History(peak_memory_bytes=7).then(some).peak_memory_bytes == 7


def test_it_comes_back_from_json():
    ended = Ended(
        "settled", 12, held_out=100, folds=3, curve=((0.5, 1.25), (1.0, 1.0)), temperature=1.5, search_steps=40
    )
    history = History([record(5, validation={"nll": 0.5}, kl_error=0.25)], 12, 3.0, 10, 0.5, ended)
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history


def test_a_monte_carlo_kl_is_shown_with_its_error():
    assert record(1).kl_text == "2.0"
    assert record(1, kl_error=0.26).kl_text == "2.0 ± 0.3"


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended("settled", 12), "settled after 12 steps"),
        (Ended("settled", 12, held_out=9, folds=3), "settled after 12 steps on 9 examples held out in 3 folds"),
        (
            Ended("later states were worse", 7, held_out=9),
            "stopped at 7 steps, later states were worse on 9 examples held out",
        ),
        (Ended("not settled", 99), "not settled after 99 steps"),
    ],
)
def test_why_a_run_ended_is_told(ended, words):
    assert str(ended) == words
