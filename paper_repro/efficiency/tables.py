"""Tables of seconds and bytes, written from the results file: steps, draws, a network of the shape of 7B."""

from __future__ import annotations

from typing import Any

from paper_repro.results import read

GIB = 2**30

# How many devices a large network is spread over, evenly and without what spreading itself costs.
DEVICES = (1, 8, 64)


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
        "| model | batch | method | precision | peft LoRA, ms | ms | ratio | to all positions' logits | to official BLoB | "
        "machine, date |",
        "|" + "---|" * 10,
    ]
    order = list(dict.fromkeys((r["model"], r["method"]) for r in records))
    for r in sorted(records, key=lambda r: order.index((r["model"], r["method"]))):
        lines.append(
            f"| {r['model']} | {r['batch']} x {r['length']} | `{r['method']}` | {r['precision']} | {r['peft_ms']} | "
            f"{r['ms']} | {r['ratio']} | {r.get('against_as_run', '-')} | {r.get('against_official', '-')} | {_where(r)} |"
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
        "as it folds / one pass | linearised / one pass | linearised, one direction / one pass | "
        "as it folds / official BLoB | machine, date |",
        "|" + "---|" * 17,
    ]
    for r in records:
        layers = f"last {r['last']}" if r["last"] else "all"
        lines.append(
            f"| {r['model']} | {r['batch']} x {r['length']} | `{r['method']}` | {layers} | {r['dtype']} | {r['pass_ms']} | "
            f"{r['draws']} | {r['passes_ms']} | {r['auto_ms']} | {r['folded_ms']} | {r['ratio']} | {r['folded_ratio']} | "
            f"{r['to_one_pass']} | {r.get('linearised_passes', '-')} | {r.get('direction_passes', '-')} | "
            f"{r.get('against_official', '-')} | {_where(r)} |"
        )
    return "\n".join(lines)


def _where(record: dict[str, Any]) -> str:
    return f"{record['machine']}, {record['date']}"


def _gib(count: int | None) -> str:
    return "-" if count is None else f"{count / GIB:.2f}"


def reports() -> str:
    """CPU seconds and bytes of a report, by examples and classes; the newest figure of each case."""
    records = [r for r in _newest("report", "part", "examples", "classes", "machine") if r["part"] == "report"]
    if not records:
        return "not measured yet"
    lines = ["| examples | classes | CPU seconds | most memory at once, GiB | machine, date |", "|" + "---|" * 5]
    for r in records:
        cost = f"{r['cpu_seconds']} | {_gib(r['peak_memory_bytes'])}"
        lines.append(f"| {r['examples']:,} | {r['classes']:,} | {cost} | {_where(r)} |")
    return "\n".join(lines)


def decisions() -> str:
    """Draws an example where each has as many as its decision needs, and whether decisions are those of all draws."""
    records = _newest("decisions", "model", "method", "task", "steps", "machine")
    if not records:
        return "not measured yet"
    lines = [
        "| model | task | method | steps | test rows | accuracy, % | draws an example | decided as by 32, % | "
        "seconds | of 32 draws | machine, date |",
        "|" + "---|" * 11,
    ]
    for r in records:
        shares = f"{100 * r['accuracy']:.1f} | {r['draws']} | {100 * r['same']:.1f}"
        lines.append(
            f"| {r['model']} | {r['task']} | `{r['method']}` | {r['steps']} | {r['test_rows']} | {shares} | {r['seconds']} | "
            f"{r['seconds_of_all']} | {_where(r)} |"
        )
    return "\n".join(lines)


def prediction() -> str:
    """Rows a processor second and memory of a prediction, one row by a frozen module, and an import."""
    records = {r["part"]: [] for r in read("prediction")}
    for r in _newest("prediction", "part", "model", "rows", "draws", "machine"):
        records[r["part"]].append(r)
    if not records:
        return "not measured yet"
    lines = [
        "| rows | draws | rows a processor second | most memory, GiB | more than before, MiB | machine, date |",
        "|" + "---|" * 6,
    ]
    for r in records.get("rows", []):
        memory = f"{_gib(r['peak_memory_bytes'])} | {r['more_memory_bytes'] / 2**20:.0f}"
        lines.append(f"| {r['rows']:,} | {r['draws']} | {r['rows_per_cpu_second']:,} | {memory} | {_where(r)} |")
    lines += [
        "",
        "| one row, draws | frozen, ms | `predict`, ms | one pass of the network, ms | frozen / `predict` | machine, date |",
    ]
    lines.append("|" + "---|" * 6)
    for r in records.get("frozen", []):
        times = f"{r['frozen_ms']} | {r['predict_ms']} | {r['network_ms']} | {r['ratio']}"
        lines.append(f"| {r['draws']} | {times} | {_where(r)} |")
    for r in records.get("import", []):
        lines += ["", f"`import bayespeft` takes {r['ratio']} times `import torch, pyro, transformers` ({_where(r)})."]
    return "\n".join(lines)


def processes() -> str:
    """By how much two processes are off one, and a run that was resumed off one that was not."""
    records = _newest("processes", "part", "method")
    if not records:
        return "not measured yet"
    lines = ["| | method | numbers | largest difference | machine, date |", "|" + "---|" * 5]
    for r in records:
        if r["part"] == "gradient":
            what = f"mean gradient of {r['processes']} {r['backend']} processes against one's (largest: {r['largest']:.2g})"
        else:
            what = f"parameters after {r['steps']} steps, resumed half way, against a run that was not"
        lines.append(f"| {what} | `{r['method']}` | {r['numbers']:,} | {r['difference']:.1g} | {_where(r)} |")
    return "\n".join(lines)


def plans() -> str:
    """Counted costs of a step against measured ones, on random Llamas."""
    records = _newest("plan", "parameters", "method", "batch", "length", "machine")
    if not records:
        return "not measured yet"
    lines = [
        "| numbers | tokens | method | a step, GFLOP | CPU seconds | GFLOP a second | activations counted, MB | held, MB | "
        "trained counted | trained | machine, date |",
        "|" + "---|" * 11,
    ]
    for r in records:
        case = f"{r['parameters']:,} | {r['batch']} x {r['length']} | `{r['method']}`"
        megabytes = [f"{r[name] / 1e6:.1f}" for name in ("counted_activation_bytes", "activation_bytes")]
        lines.append(
            f"| {case} | {r['step_gflop']} | {r['cpu_seconds']} | "
            f"{r['gflop_per_second']} | {' | '.join(megabytes)} | {r['trained']:,} | {r['really_trained']:,} | {_where(r)} |"
        )
    return "\n".join(lines)


def projection() -> str:
    """Counted costs of large networks in bf16: bytes, and operations of an example of 512 tokens, by devices of 80 GiB."""
    records = _newest("projection", "billions", "method")
    if not records:
        return "not measured yet"
    lines = [
        "| numbers | method | trained | weights, GiB | trained with gradients and optimiser, GiB | "
        "activations of an example, GiB | a step on it, TFLOP | "
        + " | ".join(f"examples on {n} x 80 GiB" for n in DEVICES)
        + " |",
        "|" + "---|" * (7 + len(DEVICES)),
    ]
    for r in records:
        fixed, each = r["weight_bytes"] + r["trained_bytes"], r["activation_bytes_an_example"]
        fit = [max((n * 80 * GIB - fixed) // each, 0) for n in DEVICES]
        lines.append(
            f"| {r['parameters']:,} | `{r['method']}` | {r['trained']:,} | {_gib(r['weight_bytes'])} | "
            f"{_gib(r['trained_bytes'])} | {_gib(each)} | {r['step_tflop_an_example']} | {' | '.join(map(str, fit))} |"
        )
    return "\n".join(lines)
