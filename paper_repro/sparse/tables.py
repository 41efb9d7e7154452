"""The table of what the sparse part of RoSA costs."""

from __future__ import annotations

from typing import Any

from paper_repro.results import read
from paper_repro.sparse.step import EXPERIMENT


def steps() -> str:
    """Step time and memory against LoRA's; the newest figure of each case."""
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for r in read(EXPERIMENT):
        newest[(r["device"], r["size"], r["density"], r["variant"], r["batch"], r["length"], r["machine"])] = r
    heads = ["layer", "rows", "density, %", "variant", "LoRA, ms", "ms", "ratio", "by the clock", "step, MiB (LoRA)"]
    heads += ["kept, MiB", "machine, date"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for _, r in sorted(newest.items(), key=lambda item: item[0][:3]):
        cells = [
            f"{r['size']} x {r['size']}",
            f"{r['batch']} x {r['length']}",
            f"{100 * r['density']:g}",
            f"`{r['variant']}`" + (f" ({r['kernel']})" if r["kernel"] else ""),
            *(r[name] for name in ("lora_ms", "ms", "ratio", "clock_ratio")),
            f"{r['step_mib']} ({r['lora_step_mib']})",
            r["kept_mib"],
            f"{r['machine']}, {r['date']}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) if newest else "not measured yet"
