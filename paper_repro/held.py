"""What the papers claim, beside what was measured here: one line a claim, judged by a rule that is stated with it.

A claim compares two methods on the same task and rows. It held where its bounds hold on every task, in part where they hold on
some, and not where they hold on none. The papers' networks are larger (most: LLaMA-2-7B); what is asked is whether the order
of the methods is the same on a small one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paper_repro.posteriors.tables import newest
from paper_repro.results import read
from paper_repro.text import TITLES

# The tasks of GLUE on which this network learns something from 500 rows. CoLA and RTE it can't: all methods say base rates.
LEARNED = ("mrpc", "sst2")
# What counts as the same accuracy (points) and NLL (a share), and as less ECE (a share).
POINTS, SAME, LESS = 1.0, 0.02, 0.1

Run = dict[str, Any]


@dataclass(frozen=True)
class Against:
    """One method against another on one task: means over the seeds that both have.

    Attributes:
        accuracy: difference in points, the method's less the other's.
        nll, ece: the method's over the other's.
        seeds: how many.
    """

    accuracy: float
    nll: float
    ece: float
    seeds: int


def better_calibrated(found: Against) -> bool:
    """at least a tenth less ECE and no more NLL, at an accuracy at most a point lower"""
    return found.ece <= 1 - LESS and found.nll <= 1 and found.accuracy >= -POINTS


def as_good(found: Against) -> bool:
    """an NLL at most 2 % higher, at an accuracy at most a point lower"""
    return found.nll <= 1 + SAME and found.accuracy >= -POINTS


def as_accurate(found: Against) -> bool:
    """an accuracy at most a point lower"""
    return found.accuracy >= -POINTS


def more_accurate(found: Against) -> bool:
    """an accuracy at least half a point higher"""
    return found.accuracy >= POINTS / 2


@dataclass(frozen=True)
class Claim:
    """What a paper says of a method and another one.

    Attributes:
        paper: name and arXiv number, or where it appeared.
        says: the claim in a sentence.
        method, other: names in the results.
        rule: what has to hold on a task; its docstring is shown.
        experiment: of the results file.
    """

    paper: str
    says: str
    method: str
    other: str
    rule: Callable[[Against], bool]
    experiment: str = "posteriors"


CLAIMS = (
    Claim("BLoB, 2406.11675", "Bayes over A beats maximum likelihood in ECE and NLL", "blob", "mle", better_calibrated),
    Claim("BLoB, 2406.11675", "Bayes over A beats MAP", "blob", "map", better_calibrated),
    Claim("BLoB, 2406.11675", "Bayes over A beats MC dropout", "blob", "mc_dropout", better_calibrated),
    Claim("Me-LoRA, ICLR 2025 submission", "Bayes over the core beats maximum likelihood", "melora", "mle", better_calibrated),
    Claim("Me-LoRA, ICLR 2025 submission", "an r x r core is latent enough: as good as BLoB", "melora", "blob", as_good),
    Claim("Laplace-LoRA, 2308.13111", "Laplace around MAP calibrates it", "laplace_lora", "map", better_calibrated),
    Claim("Laplace-LoRA, 2308.13111", "all layers beat the last", "laplace_lora", "laplace_last_layer", better_calibrated),
    Claim("ScalaBL, 2506.21408", "r latent scales a layer are as good as BLoB", "scalabl", "blob", as_good),
    Claim("TFB, 2412.05723", "a spread found by search calibrates a trained LoRA", "tfb", "mle", better_calibrated),
    Claim("SWAG-LoRA, 2405.03425", "snapshots calibrate", "swag", "mle", better_calibrated),
    Claim("IVON-LoRA, 2411.04421", "the optimiser's own spread calibrates", "ivon", "mle", better_calibrated),
    Claim("Ensembles, 1612.01474", "five LoRAs are better calibrated than one", "ensemble", "mle", better_calibrated),
    Claim("B-LoRA-XS, 2502.12122", "r x r numbers a layer are as accurate as LoRA", "lora_xs_bayes", "mle", as_accurate),
    Claim("ROSA, Hameed and Rabusseau 2023", "subspaces that change beat LoRA", "rosa_subspace", "mle", more_accurate,
          "subspace_glue"),
    Claim("RoSA, 2401.04679", "sparse and low rank together beat LoRA", "rosa_sparse", "mle", more_accurate, "subspace_glue"),
    Claim("RoSA, 2401.04679", "the two beat sparse alone", "rosa_sparse", "sparse_only", more_accurate, "subspace_glue"),
    Claim("BAdam, 2404.02827", "block after block is as accurate as all at once", "full_layerwise", "full", as_accurate,
          "subspace_glue"),
)  # fmt: skip


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


def held() -> str:
    """The table of claims."""
    lines = [
        "| claim | held? | here | accuracy, points | NLL ratio | ECE ratio | seeds |",
        "|" + "---|" * 7,
    ]
    used = []
    for claim in CLAIMS:
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
            f"| {claim.says} ({claim.paper}) | {judged(claim, found)} | `{claim.method}` : `{claim.other}`, {named} | "
            f"{' | '.join(cells)} |"
        )
    rules = dict.fromkeys(claim.rule for claim in CLAIMS)
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
