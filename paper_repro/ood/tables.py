"""The table of this folder's measurements, written from the results file."""

from __future__ import annotations

from paper_repro.ood.run import EXPERIMENT
from paper_repro.results import read
from paper_repro.text import TITLES, spread

SCORES = {"max_probability": "1 - max p", "entropy": "entropy", "mutual_information": "MI"}


def separation() -> str:
    """AUROC by method, score and other set."""
    newest = {(r["method"], r.get("lr"), r["seed"]): r for r in read(EXPERIMENT)}
    if not newest:
        return "not measured yet"
    records = list(newest.values())
    sets = list(dict.fromkeys(s["data"] for r in records for s in r["separation"]))
    lines = [
        f"MiniLM, {records[0]['limit']} messages of five newsgroups; {records[0]['test_rows']} test rows, as many of each "
        f"other set. AUROC in %: the chance that a text of the other set is the more uncertain one. {records[-1]['machine']}, "
        f"{records[-1]['date']}; `paper_repro/ood/run.py`.",
        "",
        "| method | lr | seeds | accuracy, % | NLL, nats | ECE, % | score | "
        + " | ".join(TITLES.get(s, s) for s in sets)
        + " |",
        "|" + "---|" * (7 + len(sets)),
    ]
    for method, lr in dict.fromkeys((r["method"], r.get("lr")) for r in records):
        runs = [r for r in records if (r["method"], r.get("lr")) == (method, lr)]
        for score, title in SCORES.items():
            found = [
                [s["auroc"] for r in runs for s in r["separation"] if (s["data"], s["score"]) == (data, score)]
                for data in sets
            ]
            if all(found):
                quality = [
                    spread([r[name] for r in runs], factor, digits)
                    for name, factor, digits in (("accuracy", 100, 1), ("nll", 1, 3), ("ece", 100, 1))
                ]
                cells = [
                    f"`{method}`",
                    f"{lr or 'own'}",
                    str(len(runs)),
                    *quality,
                    title,
                    *(spread(v, 100, 1) for v in found),
                ]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
