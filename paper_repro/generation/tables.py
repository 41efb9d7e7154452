"""Tables of generation, written from the results file."""

from __future__ import annotations

from collections.abc import Sequence
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


def _groups(methods: Sequence[str] = ()) -> list[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    """Return what was written, a group of seeds for each case and rule; of these methods alone where some are named."""
    groups: dict[tuple[Any, ...], dict[Any, dict[str, Any]]] = {}
    for r in read("generation"):
        for rule, found in r["right"].items():
            key = (r["task"], rule, r["model"], r["steps"] * r["batch"], r["test_rows"], r["method"], r["draws"])
            if not methods or r["method"] in methods:
                groups.setdefault(key, {})[r["seed"]] = {**r, **found}
    return [(key, list(by_seed.values())) for key, by_seed in sorted(groups.items())]


def written(methods: Sequence[str]) -> str:
    """What share of the answers of these methods was right."""
    groups = _groups(methods)
    if not groups:
        return "not measured yet"
    newest = max((r for _, records in groups for r in records), key=lambda r: r["date"])
    lines = [
        "SmolLM2, every linear layer, each method at its own rank and rate, greedy texts: ViGGO's meaning (function and "
        "attributes, exactly) or act (the function) of a sentence, GSM8k's answer (the number); cut are those that reached "
        f"the most tokens. Mean ± standard deviation over seeds. {newest['machine']}, {newest['date']}; "
        "`paper_repro/generation/run.py`.",
        "",
        "| task | right is the | examples trained on | test rows | method | seeds | right, % | cut | perplexity | fit, s "
        "| trained |",
        "|" + "---|" * 11,
    ]
    for (task, rule, _, seen, rows, method, _), records in groups:
        right, cut, perplexity, seconds = (
            spread([r[name] for r in records], factor, digits)
            for name, factor, digits in (
                ("accuracy", 100, 1),
                ("unfinished", 1, 0),
                ("test_perplexity", 1, 3),
                ("train_seconds", 1, 0),
            )
        )
        lines.append(
            f"| {TASKS[task]} | {rule} | {seen} | {rows} | `{method}` | {len(records)} | {right} | {cut} | {perplexity} | "
            f"{seconds} | {records[0]['trainable']:,} |"
        )
    return "\n".join(lines)


def errors() -> str:
    """AUROC of wrong answers by rule and score: mean and standard deviation over the seeds done."""
    groups = _groups()
    if not groups:
        return "not measured yet"
    header = [
        "| task | right is the | model | examples trained on | test rows | method | draws | seeds | right, % | perplexity | "
        "AUROC: length-normalised | whole log-probability | information | information a token |",
        "|" + "---|" * 14,
    ]
    lines = []
    for (task, rule, model, seen, rows, method, draws), records in groups:
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
