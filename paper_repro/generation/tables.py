"""Tables of generation, written from the results file."""

from __future__ import annotations

from typing import Any

from paper_repro.results import read
from paper_repro.text import spread

TASKS = {"viggo": "ViGGO", "gsm8k": "GSM8k"}
AUROC = ("length", "log_prob", "information", "information_per_token")


def speed() -> str:
    """Milliseconds a token; the newest figure of each case."""
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for r in read("generation_speed"):
        newest[(r["model"], r["method"], r["draws"], r["machine"], r["dtype"])] = r
    if not newest:
        return "not measured yet"
    header = [
        "| model | method | draws | one plain text, ms a token | all draws folded | one draw after another | folded / plain | "
        "machine, date |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(
        header
        + [
            f"| {r['model']} | `{r['method']}` | {r['draws']} | {r['plain_ms']} | {r['folded_ms']} | {r['sequential_ms']} | "
            f"{r['against_plain']} | {r['machine']}, {r['dtype']}, {r['date']} |"
            for r in newest.values()
        ]
    )


def errors() -> str:
    """AUROC of wrong answers by rule and score: mean and standard deviation over the seeds done."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in read("generation"):
        for rule, found in r["right"].items():
            key = (r["task"], rule, r["model"], r["steps"] * r["batch"], r["test_rows"], r["method"], r["draws"])
            groups.setdefault(key, []).append({**found, "test_perplexity": r["test_perplexity"]})
    if not groups:
        return "not measured yet"
    header = [
        "| task | right is the | model | examples trained on | test rows | method | draws | seeds | right, % | perplexity | "
        "AUROC: length-normalised | whole log-probability | information | information a token |",
        "|" + "---|" * 14,
    ]
    lines = []
    for (task, rule, model, seen, rows, method, draws), records in sorted(groups.items()):
        cells = [_mean([r.get(name) for r in records]) for name in AUROC]
        right, perplexity = (
            spread([r[name] for r in records], f, d) for name, f, d in (("accuracy", 100, 1), ("test_perplexity", 1, 3))
        )
        lines.append(
            f"| {TASKS[task]} | {rule} | {model} | {seen} | {rows} | `{method}` | {draws} | {len(records)} | {right} | "
            f"{perplexity} | {' | '.join(cells)} |"
        )
    return "\n".join(header + lines)


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return spread(known, 1, 3) if known else "-"
