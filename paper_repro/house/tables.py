"""The table of climbs, written from the results file."""

from __future__ import annotations

from paper_repro.results import read


def climbs() -> str:
    """The newest count of each method, with the pairs of functions that it is made of."""
    found = {record["method"]: record for record in read("climbs")}
    if not found:
        return "not measured yet"
    lines = ["| method | direct | through other packages | the direct ones |", "|---|---|---|---|"]
    for method, record in found.items():
        pairs = ", ".join(f"`{caller}` calls `{called}`" for caller, called in record["direct"])
        lines.append(f"| `{method}` | {len(record['direct'])} | {len(record['through'])} | {pairs} |")
    last = next(reversed(found.values()))
    return "\n".join([*lines, "", f"{last['date']}; `paper_repro/house/walk.py`."])
