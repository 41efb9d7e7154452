"""The table of questions that a language model answers, by number of draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paper_repro.gpu.papers import EXPERIMENT
from paper_repro.results import read
from paper_repro.text import TITLES, spread

FIGURES = {"accuracy": (100, 1), "nll": (1, 3), "ece": (100, 1)}
CASE = ("model", "task", "limit", "steps", "batch", "max_length")


def questions(methods: Sequence[str] | None = None) -> str:
    """Return accuracy, NLL and ECE of methods by number of draws: mean and standard deviation over seeds.

    Args:
        methods: those that are shown, in this order; None: all.
    """
    records = list({(*(r[k] for k in CASE), r["method"], r["seed"]): r for r in read(EXPERIMENT)}.values())
    order = list(methods or dict.fromkeys(r["method"] for r in records))
    records = [r for r in records if r["method"] in order]
    if not records:
        return "not measured yet"
    cases = list(dict.fromkeys(tuple(r[k] for k in CASE) for r in records))
    blocks = [_block([r for r in records if tuple(r[k] for k in CASE) == case], order) for case in cases]
    return "\n\n".join(blocks)


def _block(records: Sequence[dict[str, Any]], order: Sequence[str]) -> str:
    r = records[-1]
    lines = [
        f"{TITLES.get(r['model'], r['model'])} on {TITLES.get(r['task'], r['task'])}, by label tokens: {r['steps']} steps of "
        f"{r['batch']} of at most {r['limit']:,} training rows, {r['test_rows']} test rows; 0 draws is the posterior's mean. "
        f"{r['machine']}, {r['date']}; `paper_repro/gpu/papers.py`.",
        "",
        "| method | draws | seeds | accuracy, % | NLL, nats | ECE, % | train, s | trained numbers |",
        "|" + "---|" * 8,
    ]
    for method in order:
        runs = [one for one in records if one["method"] == method]
        for draws in runs[0]["draws"] if runs else ():
            found = [one["draws"][draws] for one in runs if draws in one["draws"]]
            cells = [spread([one[name] for one in found], *form) for name, form in FIGURES.items()]
            seconds = spread([one["train_seconds"] for one in runs], 1, 0)
            row = [f"`{method}`", draws, str(len(found)), *cells, seconds, f"{runs[0]['trainable']:,}"]
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)
