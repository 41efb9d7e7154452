"""Texts that language models write for the reproductions: whose references they are, what is right, and the tables of both."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("paper_repro.tables", reason="the measurements are only in the repository")
from paper_repro import results, small_tables
from paper_repro.generation import held, run
from paper_repro.generation.tables import written
from paper_repro.rosa_subspace import e2e

COMMON = {"machine": "a machine", "date": "2026-01-01", "seed": 0, "train_seconds": 9.0, "trainable": 7000}


def test_references_are_those_of_one_meaning_and_fewer_meanings_are_a_part_of_more():
    rows = [{"source": f"name : {n % 5}", "target": f"{n} !"} for n in range(12)]
    every = e2e.grouped(rows)
    assert every["name : 1"] == ["1 !", "6 !", "11 !"]
    assert sum(map(len, every.values())) == len(rows)
    few = e2e.grouped(rows, 2)
    assert list(few) == list(every)[:2]
    assert e2e.grouped(rows, 5, seed=1).keys() == every.keys()


@pytest.mark.parametrize(
    ("rule", "said", "right"),
    [
        (run.same_meaning, "inform(name[A], genres[b, c])", True),
        (run.same_meaning, " inform(genres[c, b], name[A])", True),
        (run.same_meaning, "inform(name[A], genres[b])", False),
        (run.same_meaning, "request(name[A], genres[b, c])", False),
        (run.same_act, "inform(name[B])", True),
        (run.same_act, "request(name[A])", False),
    ],
)
def test_a_meaning_is_right_in_any_order_of_its_attributes(rule, said, right):
    assert rule(said, " inform(name[A], genres[b, c])") is right


@pytest.mark.parametrize(
    ("said", "right"), [("#### 1,200", True), ("5 = 5\n#### 1200.", True), ("#### 12", False), ("1200", False)]
)
def test_an_answer_is_the_number_at_its_end(said, right):
    assert run.same_number(said, "so many\n#### 1200") is right


def test_tables_have_a_line_for_each_case(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FILE", tmp_path / "results.jsonl")
    assert written(["mle"]) == small_tables.e2e() == "not measured yet"
    answers = {
        **COMMON, "experiment": "generation", "task": "gsm8k", "model": "smollm2", "steps": 3, "batch": 4, "test_rows": 8,
        "method": "mle", "draws": 0, "unfinished": 3, "test_perplexity": 2.0, "right": {"answer": {"accuracy": 0.25}},
    }  # fmt: skip
    texts = {
        **COMMON, "experiment": "e2e", "rank": 2, "method": "mle", "perplexity": 1.5, "bleu": 0.5, "refresh_seconds": 0,
        "unfinished": 1, "steps": 3, "batch": 4, "limit": 5, "test_rows": 2, "references": 6,
    }  # fmt: skip
    # Of a seed that was measured twice the newest counts, and what is not asked for is not shown.
    lines = [answers, {**answers, "right": {"answer": {"accuracy": 0.5}}}, {**answers, "method": "melora"}, texts]
    results.FILE.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert written(["mle"]).splitlines()[4:] == [
        "| GSM8k | answer | 12 | 8 | `mle` | 1 | 50.0 | 3 | 2.000 | 9 | 7,000 |"
    ]
    assert small_tables.e2e().endswith("| 2 | `mle` | 1 | 1.500 | 50.0 | 7000 | 9 | 0 | 1 |")


def test_perplexities_are_compared_on_the_seeds_that_both_have():
    records = [
        {"rank": rank, "seed": seed, "method": method, "perplexity": value}
        for rank, seed, method, value in [
            (2, 0, "a", 4.0), (2, 0, "b", 5.0), (2, 1, "a", 6.0), (8, 0, "a", 4.0), (8, 0, "b", 4.05), (4, 0, "b", 1.0),
        ]
    ]  # fmt: skip
    found = held.perplexities(records, "a", "b")
    assert found == {2: (4.0, 5.0), 8: (4.0, 4.05)}
    assert held.lower(found) == "in part (1 of 2 ranks)"
    assert held.lower({2: (4.0, 5.0)}) == "yes"
    assert held.lower(held.perplexities(records, "b", "a")) == "no"


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [((3, 60), (2, 60), "not told apart"), ((0, 24), (0, 24), "not told apart"), ((40, 60), (20, 60), "yes"),
     ((20, 60), (40, 60), "no"), ((57, 100), (43, 100), "not told apart"), ((58, 100), (43, 100), "yes")],
)  # fmt: skip
def test_shares_differ_by_more_than_two_standard_errors(ours, theirs, said):
    """With 100 answers each and half of them right, a standard error is sqrt(0.5 * 0.5 * 2 / 100), 7.07 %."""
    assert held.more(ours, theirs) == said


def test_right_answers_are_added_up_over_seeds():
    record = {
        "task": "viggo",
        "method": "mle",
        "steps": 3,
        "batch": 4,
        "test_rows": 60,
        "right": {"act": {"accuracy": 0.05}},
    }
    other = {**record, "seed": 1, "right": {"act": {"accuracy": 0.1}}}
    assert held.shares([{**record, "seed": 0}, other, other], "viggo", "act", "mle") == (9, 120)
    assert held.shares([{**record, "seed": 0}], "gsm8k", "act", "mle") == (0, 0)
