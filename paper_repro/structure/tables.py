"""The table of this folder's measurements, written from the results file."""

from __future__ import annotations

from paper_repro.results import read
from paper_repro.text import TITLES


def structure() -> str:
    """What full fine-tuning changed, layer by layer; the newest record of each."""
    records = list({(r["task"], r["seed"], r["layer"]): r for r in read("structure")}.values())
    if not records:
        return "not measured yet"
    first = records[0]
    budgets = first["budgets"]
    lines = [
        f"Full fine-tuning of MiniLM on {first['limit']} rows of {TITLES[first['task']]} (accuracy "
        f"{100 * first['accuracy']:.1f} %), its update beside a matrix of independent normals. Share of the squared norm, %, "
        "that a rank r explains, that as many elements, r (m + n), explain, and that half of each does: the largest elements "
        "of robust PCA's sparse part, and the best rank of all else. Where elements lie is not counted. "
        f"{first['machine']}, {first['date']}; `paper_repro/structure/run.py`.",
        "",
        "| layer | m x n | stable rank | largest / rms | "
        + " | ".join(f"r = {r}: rank, elements, both" for r in budgets)
        + " | robust PCA: rank, density |",
        "|---" * (5 + len(budgets)) + "|",
    ]
    for r in records:
        shares = [
            " / ".join(f"{100 * share:.0f}" for share in (r["by_rank"][i], r["by_count"][i], r["by_both"][i]))
            for i in range(len(budgets))
        ]
        lines.append(
            f"| {r['layer']} | {r['shape'][0]} x {r['shape'][1]} | {r['stable_rank']:.1f} | {r['largest_over_rms']:.0f} | "
            f"{' | '.join(shares)} | {r['low_rank']['rank']}, {100 * r['sparse']['density']:.0f} % |"
        )
    return "\n".join(lines)
