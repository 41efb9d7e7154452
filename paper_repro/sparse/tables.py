"""The tables of what the sparse part of RoSA costs, and of which rule chooses where it is."""

from __future__ import annotations

from typing import Any

from paper_repro.results import read
from paper_repro.sparse.mask import EXPERIMENT as MASK
from paper_repro.sparse.mask import RULES
from paper_repro.sparse.step import EXPERIMENT
from paper_repro.text import spread


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


def masks() -> str:
    """How well each rule for the mask does, over the seeds that all of them have."""
    records = read(MASK)
    seeds = [{r["seed"] for r in records if r["rule"] == rule} for rule in RULES]
    common = set.intersection(*seeds)
    if not common:
        return "not measured yet"
    first = records[0]
    lines = [
        f"{first['rows']} rows of SST-2, {first['epochs']} epochs of batches of {first['batch']}, {first['test_rows']} other "
        f"rows of its training split; mean ± standard deviation over {len(common)} seeds. {records[-1]['date']}; "
        "`paper_repro/sparse/mask.py`.",
        "",
        "| mask from | accuracy, % | NLL, nats | ECE, % |",
        "|---|---|---|---|",
    ]
    for rule in RULES:
        own = [r for r in records if r["rule"] == rule and r["seed"] in common]
        cells = (spread([r[name] for r in own], scale, digits) for name, scale, digits in _FIGURES)
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return "\n".join(lines)


_FIGURES = (("accuracy", 100, 1), ("nll", 1, 3), ("ece", 100, 1))
