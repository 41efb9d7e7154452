"""The tables of architectures, written from the results file."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from paper_repro.results import read

TASKS = {
    "sequence": "sequence classification",
    "causal": "causal language modelling",
    "seq2seq": "sequence to sequence",
    "image": "image classification",
    "audio": "audio classification",
}
OUTCOMES = ("ok", "refused", "failed", "not built")


def _newest() -> list[dict[str, Any]]:
    """The last record of each class and target set."""
    records = {(r["task"], r["network"], r["targets"]): r for r in read("architectures")}
    return sorted(records.values(), key=lambda r: (list(TASKS).index(r["task"]), r["targets"], r["network"]))


def counts() -> str:
    """How many classes of each task came out how, by target set."""
    records = _newest()
    if not records:
        return "not measured yet"
    lines = ["| task | targets | classes | ok | refused | failed | not built |", "|---|---|---|---|---|---|---|"]
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for r in records:
        groups[r["task"], r["targets"]].append(r["outcome"])
    for (task, targets), found in groups.items():
        numbers = " | ".join(str(found.count(outcome)) for outcome in OUTCOMES)
        lines.append(f"| {TASKS[task]} | `{targets}` | {len(found)} | {numbers} |")
    last = records[-1]
    note = f"transformers {last['versions']['transformers']}, method `{last['method']}`, {last['date']}; `{_command(last)}`."
    return "\n".join([*lines, "", note])


def fine() -> str:
    """The classes that are ok, by task and target set."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for r in _newest():
        if r["outcome"] == "ok":
            groups[r["task"], r["targets"]].append(r["network"])
    lines = [f"- **{TASKS[task]}, `{targets}`**: {', '.join(names)}" for (task, targets), names in groups.items()]
    return "\n".join(lines) or "not measured yet"


def others() -> str:
    """The classes that are not ok, by reason."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for r in _newest():
        if r["outcome"] != "ok":
            groups[r["outcome"], _alike(r), r["targets"]].append(r["network"])
    lines = ["| outcome | reason | targets | classes |", "|---|---|---|---|"]
    for (outcome, reason, targets), names in sorted(
        groups.items(), key=lambda g: (OUTCOMES.index(g[0][0]), -len(g[1]))
    ):
        lines.append(f"| {outcome} | {reason} | `{targets}` | {', '.join(dict.fromkeys(names))} |")
    return "\n".join(lines) if groups else "not measured yet"


def _alike(record: dict[str, Any]) -> str:
    """The reason without what is the class's own: names and numbers."""
    reason = record["reason"].replace(record["network"], "the network")
    reason = re.sub(r"layer '[^']*'", "a layer", reason)
    reason = re.sub(r"\b\d+ rows in a batch of \d+\b", "other rows than the batch", reason)
    return reason.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _command(record: dict[str, Any]) -> str:
    return re.sub(r" --(task|targets|networks) \S+", "", record["command"])
