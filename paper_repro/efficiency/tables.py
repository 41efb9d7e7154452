"""Tables of seconds and bytes, written from the results file: steps, draws, a network of the shape of 7B."""

from __future__ import annotations

from typing import Any

from paper_repro.results import read

GIB = 2**30


def _newest(experiment: str, *key: str) -> list[dict[str, Any]]:
    """Return the newest record of each case, a case being what the named fields say, in the order of the cases."""
    found = {tuple(record.get(name) for name in key): record for record in read(experiment)}
    return list(found.values())


def steps() -> str:
    """Cost of a training step against peft's LoRA, each machine beside the others; the newest figure of each case."""
    records = _newest("step", "model", "method", "machine", "precision")
    if not records:
        return "not measured yet"
    lines = [
        "| model | batch | method | precision | peft LoRA, ms | ms | ratio | to all positions' logits | machine, date |",
        "|" + "---|" * 9,
    ]
    order = list(dict.fromkeys((r["model"], r["method"]) for r in records))
    for r in sorted(records, key=lambda r: order.index((r["model"], r["method"]))):
        lines.append(
            f"| {r['model']} | {r['batch']} x {r['length']} | `{r['method']}` | {r['precision']} | {r['peft_ms']} | "
            f"{r['ms']} | {r['ratio']} | {r.get('against_as_run', '-')} | {_where(r)} |"
        )
    return "\n".join(lines)


def large() -> str:
    """A step and its peak of memory on a network of the shape of 7B, against peft's LoRA."""
    records = _newest("large_step", "model", "method", "bits", "batch", "length", "machine")
    if not records:
        return "not measured yet"
    lines = [
        "| model | bits | batch | method | peft LoRA, ms | ms | ratio | network, GiB | peak of peft, GiB | peak, GiB | "
        "machine, date |",
        "|" + "---|" * 11,
    ]
    for r in records:
        memory = " | ".join(_gib(r[name]) for name in ("network_bytes", "peft_peak_bytes", "peak_bytes"))
        lines.append(
            f"| {r['model']} | {r['bits']} | {r['batch']} x {r['length']} | `{r['method']}` | {r['peft_ms']} | {r['ms']} | "
            f"{r['ratio']} | {memory} | {_where(r)} |"
        )
    return "\n".join(lines)


def draws() -> str:
    """Milliseconds of a prediction of several draws, folded into passes, against one pass after another."""
    records = _newest("draws_speed", "model", "method", "batch", "length", "last", "dtype", "machine")
    if not records:
        return "not measured yet"
    lines = [
        "| model | batch | method | layers | precision | one pass of peft, ms | draws | as many passes of peft, ms | "
        "as the package folds, ms | all folded, ms | as it folds / as many passes | all folded / as many passes | "
        "as it folds / one pass | "
        "machine, date |",
        "|" + "---|" * 14,
    ]
    for r in records:
        layers = f"last {r['last']}" if r["last"] else "all"
        lines.append(
            f"| {r['model']} | {r['batch']} x {r['length']} | `{r['method']}` | {layers} | {r['dtype']} | {r['pass_ms']} | "
            f"{r['draws']} | {r['passes_ms']} | {r['auto_ms']} | {r['folded_ms']} | {r['ratio']} | {r['folded_ratio']} | "
            f"{r['to_one_pass']} | {_where(r)} |"
        )
    return "\n".join(lines)


def _where(record: dict[str, Any]) -> str:
    return f"{record['machine']}, {record['date']}"


def _gib(count: int | None) -> str:
    return "-" if count is None else f"{count / GIB:.2f}"
