"""Claims are judged over the same seeds, task by task."""

from __future__ import annotations

import pytest

pytest.importorskip("paper_repro.held", reason="the measurements are only in the repository")
from paper_repro import held
from paper_repro.paper import Claim, better_calibrated


def run(method, seed, task="sst2", accuracy=0.8, nll=0.5, ece=0.1):
    return {
        "model": "minilm", "limit": 500, "task": task, "method": method, "seed": seed, "accuracy": accuracy, "nll": nll,
        "ece": ece,
    }  # fmt: skip


CLAIM = Claim("a paper", "says so", "blob", "mle", better_calibrated)


def test_the_seeds_are_those_that_both_have():
    runs = [
        run("blob", 0, ece=0.05, nll=0.4, accuracy=0.79),
        run("blob", 1, ece=0.9),
        run("mle", 0),
        run("mle", 2, nll=9),
    ]
    (found,) = held.compared(CLAIM, runs).values()
    assert (found.seeds, found.ece, found.nll) == (1, pytest.approx(0.5), pytest.approx(0.8))
    assert found.accuracy == pytest.approx(-1)


@pytest.mark.parametrize(
    ("eces", "verdict"),
    [((0.05, 0.05), "yes"), ((0.05, 0.095), "in part (1 of 2 tasks)"), ((0.095, 0.2), "no"), ((), "not measured")],
)
def test_a_claim_held_where_its_rule_holds_on_every_task(eces, verdict):
    runs = [run("blob", 0, task, ece=ece) for task, ece in zip(held.LEARNED, eces, strict=False)]
    runs += [run("mle", 0, task) for task in held.LEARNED]
    assert held.judged(CLAIM, held.compared(CLAIM, runs)) == verdict
