"""Tables of this folder's measurements, written from the results file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paper_repro.results import read
from paper_repro.subspace.ablation import CHANGES
from paper_repro.subspace.ablation import EXPERIMENT as ABLATION
from paper_repro.subspace.glue import EXPERIMENT as GLUE
from paper_repro.subspace.glue import METHODS
from paper_repro.text import TITLES, spread

NOTHING = "not measured yet"
SYNTHETIC = "synthetic_rank"
Records = Sequence[Mapping[str, Any]]


def synthetic() -> str:
    """Squared error at the end by rank, beside the least that the rank can reach."""
    records = read(SYNTHETIC)
    if not records:
        return NOTHING
    methods = list(dict.fromkeys(r["method"] for r in records if r["rank"] is not None))
    newest = {(r["rank"], r["method"]): r for r in records}
    full = newest[None, "full"]
    lines = [
        f"Squared error over all outputs and rows after {full['steps']} steps, from {full['start']:.3g} at the start; full "
        f"fine-tuning ends at {full['final']:.2g}. In brackets the trained numbers. {full['machine']}, {full['date']}; "
        "`paper_repro/subspace/synthetic.py`.",
        "",
        "| rank | floor of the rank | " + " | ".join(methods) + " |",
        "|---" * (2 + len(methods)) + "|",
    ]
    for rank in sorted({r["rank"] for r in records if r["rank"] is not None}):
        cells = [newest.get((rank, method)) for method in methods]
        lora = newest[rank, "LoRA"]
        shown = ["" if cell is None else f"{cell['final']:.2g} ({cell['trainable']:,})" for cell in cells]
        lines.append(f"| {rank} | {lora['floor']:.3g} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def glue(methods: Sequence[str] = tuple(METHODS.split(","))) -> str:
    """These ways to train, on the same rows and at the same budget."""
    records = _newest(GLUE)
    if not records:
        return NOTHING
    return _table(records, methods, "`paper_repro/subspace/glue.py`; all layers; the head's numbers don't count")


def ablation() -> str:
    """ROSA with one thing changed."""
    records = _newest(ABLATION)
    return _table(records, list(CHANGES), "`paper_repro/subspace/ablation.py`") if records else NOTHING


def _newest(experiment: str) -> Records:
    return list({(r["task"], r["method"], r["seed"]): r for r in read(experiment)}.values())


def _table(records: Records, order: Sequence[str], source: str) -> str:
    lines = [
        f"MiniLM, {records[0]['limit']} training rows, up to {max(r['test_rows'] for r in records)} test rows, mean ± standard "
        "deviation over seeds; seconds of the fit, and those of factorisation and merging among them (factors); peak memory of "
        f"the process. {records[-1]['machine']}, {records[-1]['date']}; {source}.",
        "",
        "| task | method | seeds | accuracy, % | Matthews | NLL, nats | ECE, % | fit, s | factors, s | memory, GB | trained |",
        "|" + "---|" * 11,
    ]
    for task in dict.fromkeys(r["task"] for r in sorted(records, key=lambda r: r["task"])):
        for method in order:
            runs = [r for r in records if (r["task"], r["method"]) == (task, method)]
            if runs:
                lines.append(_row(task, method, runs))
    return "\n".join(lines)


def _row(task: str, method: str, runs: Records) -> str:
    def cell(name: str, factor: float, digits: int) -> str:
        return spread([r[name] for r in runs], factor, digits)

    cells = [
        TITLES.get(task, task),
        f"`{method}`",
        str(len(runs)),
        cell("accuracy", 100, 1),
        cell("matthews", 1, 3),
        cell("nll", 1, 3),
        cell("ece", 100, 1),
        cell("train_seconds", 1, 0),
        cell("refresh_seconds", 1, 1),
        cell("peak_memory_bytes", 1e-9, 2),
        f"{runs[0]['trainable']:,}",
    ]
    return "| " + " | ".join(cells) + " |"
