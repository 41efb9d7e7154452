"""The table of agreements."""

from __future__ import annotations

from paper_repro.references.run import EXPERIMENT
from paper_repro.results import read


def agreements() -> str:
    """What is compared with what, and by how much it differs, newest first measured."""
    records = {(r["what"], r["against"]): r for r in read(EXPERIMENT)}
    if not records:
        return "not measured yet"
    last = max(r["date"] for r in records.values())
    lines = [
        "The largest difference of all numbers compared, beside the largest number and the difference that the test allows. "
        f"{last}; `paper_repro/references/run.py`.",
        "",
        "| what | against | largest difference | largest number | allowed | test |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r['what']} | {r['against']} | {r['difference']:.1e} | {r['largest']:.4g} | {r['allowed']:.1e} | "
            f"`{r['test']}` |"
            for r in records.values()
        ),
    ]
    return "\n".join(lines)
