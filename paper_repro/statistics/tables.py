"""The tables of this folder's simulations, written from the results file."""

from __future__ import annotations

from typing import Any

from paper_repro.results import read
from paper_repro.statistics.decisions import EXPERIMENT as DECIDE


def newest(experiment: str, *keys: str) -> list[dict[str, Any]]:
    """The last record of each case, in the order of their first."""
    return list({tuple(r[key] for key in keys): r for r in read(experiment)}.values())


def power() -> str:
    """Share answered by each rule, beside the best that any threshold could."""
    records = newest(DECIDE, "law", "rows", "risk", "rule")
    rules = list(dict.fromkeys(r["rule"] for r in records))
    cases: dict[tuple[str, int, float], dict[str, dict[str, Any]]] = {}
    for r in records:
        cases.setdefault((r["law"], r["rows"], r["risk"]), {})[r["rule"]] = r
    compared = {case: found for case, found in cases.items() if len(found) == len(rules)}
    if not compared:
        return "not measured yet"
    lines = [
        f"Mean share answered, % ± standard error, over {records[0]['repeats']:,} validation sets; delta "
        f"{records[0]['delta']:g}. {records[-1]['date']}; `paper_repro/statistics/decisions.py`.",
        "",
        "| law | rows | risk | " + " | ".join(rules) + " | best threshold |",
        "|" + "---|" * (4 + len(rules)),
    ]
    for (law, rows, risk), found in compared.items():
        shares = [f"{100 * found[r]['answered']:.1f} ± {100 * found[r]['answered_error']:.1f}" for r in rules]
        best = f"{100 * found[rules[0]]['oracle']:.1f}"
        lines.append("| " + " | ".join([law, f"{rows:,}", f"{risk:g}", *shares, best]) + " |")
    return "\n".join(lines)


def validity() -> str:
    """How often the rule's risk is above what was promised, at most delta."""
    records = [r for r in newest(DECIDE, "law", "rows", "risk", "rule") if r["rule"] == "ours"]
    if not records:
        return "not measured yet"
    lines = [
        f"Share of validation sets whose rule has a larger risk than promised, %, which is to be at most "
        f"{100 * records[0]['delta']:g}; the standard error is that of {100 * records[0]['delta']:g} %.",
        "",
        "| law | rows | risk | sets | risk is larger | standard error |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r['law']} | {r['rows']:,} | {r['risk']:g} | {r['repeats']:,} | {100 * r['broken']:.1f} | "
            f"{100 * r['broken_error']:.1f} |"
            for r in records
        ),
    ]
    return "\n".join(lines)
