"""The table of climbs, written from the results file."""

from __future__ import annotations

from typing import Any

from paper_repro.results import read


def climbs() -> str:
    """The newest count of each method: calls of what was made above, and where the guide and the data go."""
    found = {record["method"]: record for record in read("climbs") if "walks" in record}
    if not found:
        return "not measured yet"
    walks = list(next(iter(found.values()))["walks"])
    head = ["method", "climbs", "through other packages", "by an interface", *(f"`{walk}`" for walk in walks)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for method, record in found.items():
        counts = [len(record[kind]) for kind in ("climbs", "through", "interface")]
        lines.append(f"| `{method}` | {' | '.join(map(str, [*counts, *(_walk(record['walks'][w]) for w in walks)]))} |")
    last = next(reversed(found.values()))
    return "\n".join([*lines, "", f"{last['date']}; `paper_repro/house/walk.py`."])


def _walk(walk: dict[str, Any]) -> str:
    return f"{len(walk['rooms'])} rooms, {walk['modules']} modules, {len(walk['climbs'])} climbs"
