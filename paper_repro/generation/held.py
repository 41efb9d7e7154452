"""What papers claim of written texts, judged by what was measured here: lines of the index.

Perplexities of two methods are of the same references, so that they differ where they do by more than `SAME`; shares of right
answers differ where they do by more than two standard errors of their difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from paper_repro.paper import SAME
from paper_repro.results import read

Records = Sequence[Mapping[str, Any]]


def perplexities(records: Records, ours: str, theirs: str) -> dict[int, tuple[float, float]]:
    """Return the perplexities of two methods by rank: means over the seeds that both have."""
    found: dict[int, tuple[float, float]] = {}
    newest = {(r["rank"], r["seed"], r["method"]): r["perplexity"] for r in records}
    for rank in sorted({rank for rank, _, _ in newest}):
        pairs = [
            (newest[rank, seed, ours], newest[rank, seed, theirs])
            for seed in sorted({seed for size, seed, _ in newest if size == rank})
            if (rank, seed, ours) in newest and (rank, seed, theirs) in newest
        ]
        if pairs:
            found[rank] = (sum(a for a, _ in pairs) / len(pairs), sum(b for _, b in pairs) / len(pairs))
    return found


def lower(found: Mapping[int, tuple[float, float]]) -> str:
    """Say whether the first of two perplexities is lower by more than `SAME` at every rank: yes, in part, no."""
    kept = [ours < (1 - SAME) * theirs for ours, theirs in found.values()]
    return "yes" if all(kept) else f"in part ({sum(kept)} of {len(kept)} ranks)" if any(kept) else "no"


def shares(records: Records, task: str, rule: str, method: str) -> tuple[int, int]:
    """Return how many answers of a method were right, and how many there are, over all seeds."""
    newest = {
        (r["seed"], r["steps"], r["batch"], r["test_rows"]): r
        for r in records
        if (r["task"], r["method"]) == (task, method)
    }
    right = sum(round(r["right"][rule]["accuracy"] * r["test_rows"]) for r in newest.values())
    return right, sum(r["test_rows"] for r in newest.values())


def more(ours: tuple[int, int], theirs: tuple[int, int]) -> str:
    """Say whether a share of right answers is higher than another, or that they are not told apart.

    Args:
        ours, theirs: right ones, and all; the standard error is that of the pooled share.
    """
    pooled = (ours[0] + theirs[0]) / (ours[1] + theirs[1])
    error = math.sqrt(pooled * (1 - pooled) * (1 / ours[1] + 1 / theirs[1]))
    difference = ours[0] / ours[1] - theirs[0] / theirs[1]
    if abs(difference) <= 2 * error:
        return "not told apart"
    return "yes" if difference > 0 else "no"


def e2e() -> tuple[str, str]:
    """Return ROSA's perplexities beside LoRA's on E2E, in words, and whether they are lower."""
    found = perplexities(read("e2e"), "rosa_subspace", "mle")
    said = "; ".join(f"rank {rank}: {ours:.2f} against LoRA's {theirs:.2f}" for rank, (ours, theirs) in found.items())
    return said or "-", lower(found) if found else "not measured"


def answers() -> tuple[str, str]:
    """Return how many of RoSA's exact answers are right beside LoRA's, in words, and whether they are more on every task."""
    said, judged = [], []
    for task, rule, title in (("viggo", "meaning", "ViGGO"), ("gsm8k", "answer", "GSM8k")):
        ours, theirs = (shares(read("generation"), task, rule, method) for method in ("rosa_sparse", "mle"))
        if ours[1] and theirs[1]:
            said.append(f"{title}: {ours[0]} of {ours[1]} against LoRA's {theirs[0]} of {theirs[1]}")
            judged.append(more(ours, theirs))
    return "; ".join(said) or "-", " / ".join(dict.fromkeys(judged)) or "not measured"
