"""Judges what the papers claim by what was measured here: one line a claim, with the rule that it is judged by.

A claim compares two methods on the same task and rows. It held where its bounds hold on every task, in part where they hold on
some, and not where they hold on none. The papers' networks are larger (most: LLaMA-2-7B); what is asked is whether the order
of the methods is the same on a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paper_repro.paper import Against, Claim
from paper_repro.papers import CLAIMS
from paper_repro.posteriors.tables import newest
from paper_repro.results import read
from paper_repro.text import TITLES

# The tasks of GLUE on which this network learns something from 500 rows. CoLA and RTE it can't: all methods say base rates.
LEARNED = ("mrpc", "sst2")
Run = dict[str, Any]


def compared(claim: Claim, runs: Sequence[Run]) -> dict[str, Against]:
    """Return each learned task on which both methods of a claim were measured, over the seeds that both have.

    Args:
        claim: what is compared.
        runs: newest records of its experiment.
    """
    found = {}
    for task in LEARNED:
        ours, theirs = (
            {(r["model"], r["limit"], r["seed"]): r for r in runs if (r["task"], r["method"]) == (task, name)}
            for name in (claim.method, claim.other)
        )
        keys = sorted(key for key in ours.keys() & theirs.keys() if key[0] == "minilm")
        if keys:

            def mean(records: dict[Any, Run], name: str, keys: Sequence[Any] = keys) -> float:
                return sum(records[key][name] for key in keys) / len(keys)

            found[task] = Against(
                accuracy=100 * (mean(ours, "accuracy") - mean(theirs, "accuracy")),
                nll=mean(ours, "nll") / mean(theirs, "nll"),
                ece=mean(ours, "ece") / mean(theirs, "ece"),
                seeds=len(keys),
            )
    return found


def judged(claim: Claim, found: dict[str, Against]) -> str:
    """Say whether a claim held: yes, in part, no, or that nothing was measured."""
    if not found:
        return "not measured"
    kept = [claim.rule(one) for one in found.values()]
    return "yes" if all(kept) else f"in part ({sum(kept)} of {len(kept)} tasks)" if any(kept) else "no"


def held(claims: Sequence[Claim] = CLAIMS) -> str:
    """The table of claims."""
    lines = [
        "| claim | held? | here | accuracy, points | NLL ratio | ECE ratio | seeds |",
        "|" + "---|" * 7,
    ]
    used = []
    for claim in claims:
        runs = newest(claim.experiment)
        found = compared(claim, runs)
        used += [r for r in runs if r["task"] in found and r["method"] in (claim.method, claim.other)]
        cells = [
            " / ".join(write(one) for one in found.values()) or "-"
            for write in (
                lambda one: f"{one.accuracy:+.1f}",
                lambda one: f"{one.nll:.2f}",
                lambda one: f"{one.ece:.2f}",
                lambda one: str(one.seeds),
            )
        ]
        named = " / ".join(TITLES[task] for task in found) or "-"
        lines.append(
            f"| {claim.says} ({claim.paper}) | {judged(claim, found)} | "
            f"`{claim.method}` : `{claim.other}`, {named} | "
            f"{' | '.join(cells)} |"
        )
    rules = dict.fromkeys(claim.rule for claim in claims)
    said = "; ".join(f"{rule.__name__.replace('_', ' ')}: {rule.__doc__}" for rule in rules)
    machines = " and ".join(sorted({r["machine"] for r in used}))
    days = sorted({r["date"] for r in used})
    lines += [
        "",
        "MiniLM, 500 training rows; each figure by task, in the order of the names. A claim held where its rule holds on "
        f"every task, by the kind of claim: {said}. Settings of those days. "
        f"{machines}, {' to '.join(dict.fromkeys([days[0], days[-1]]))}; "
        "`paper_repro/posteriors/run.py` and `paper_repro/subspace/glue.py`.",
    ]
    return "\n".join(lines)


def expressive() -> str:
    """ROSA's other claim: the update that it makes is not bound by the rank of one step."""
    newest_runs = {(r["method"], r["rank"]): r for r in read("synthetic_rank")}
    ranks = sorted({rank for _, rank in newest_runs if rank is not None})
    parts = [
        f"rank {rank}: ROSA {newest_runs['ROSA', rank]['final']:.2g}, LoRA {newest_runs['LoRA', rank]['final']:.2g} "
        f"(no matrix of this rank gets below {newest_runs['LoRA', rank]['floor']:.2g})"
        for rank in ranks
        if {("ROSA", rank), ("LoRA", rank)} <= newest_runs.keys()
    ]
    return (
        "Squared error at the end on a change of rank 24, by the rank that is trained at a time: "
        + "; ".join(parts)
        + "."
    )
