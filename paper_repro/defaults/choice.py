"""Which posterior to take, by the size of data, the latency that a prediction may have, and what it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from paper_repro.defaults.tables import ORDER, geometric, mean, on_one_machine
from paper_repro.defaults.tables import newest as newest_defaults
from paper_repro.posteriors.tables import newest
from paper_repro.results import read
from paper_repro.text import TITLES

Cell = dict[str, dict[str, Any]]  # method -> its record on one task, number of rows and seed

# The most that a mean over cells may be worse than the best one and still be called as good: nats, a share, seconds.
CLOSE = 0.02
CLOSE_ACCURACY = 0.005
CLOSE_SECONDS = 0.5


def by_size() -> str:
    """Compare methods over the same cells (task x seed) of each number of rows."""
    records = newest_defaults()
    lines = [
        "| rows | cells | method | accuracy, % | NLL, nats | NLL / best | ECE, % | ECE within noise | fit, s | predict, s |",
        "|" + "---|" * 10,
    ]
    for n, names, cells in _sizes(records):
        means = {name: mean(_runs(cells, name), "nll") for name in names}
        for name in names:
            runs = _runs(cells, name)
            mark = "**" if len(names) > 1 and means[name] <= min(means.values()) + CLOSE else ""
            ratios = [cell[name]["nll"] / min(cell[other]["nll"] for other in names) for cell in cells]
            ratio = f"{geometric(ratios):.2f}" if len(names) > 1 else "-"
            timed = _runs(on_one_machine(cells, names), name)
            fit, predict = (
                f"{mean(timed, field):{digits}}" if timed else "-"
                for field, digits in (("fit_seconds", ".0f"), ("predict_seconds", ".2f"))
            )
            lines.append(
                f"| {n:,} | {len(cells)} | `{name}` | {100 * mean(runs, 'accuracy'):.1f} | "
                f"{mark}{means[name]:.3f}{mark} | {ratio} | {100 * mean(runs, 'ece'):.1f} | "
                f"{_kept(runs)} of {len(runs)} | {fit} | {predict} |"
            )
    tests = sorted({record["test_rows"] for record in records})
    return "\n".join(
        [
            *lines,
            "",
            f"Means over cells (task x seed) that all methods of a size have; bold: within {CLOSE} nats of the lowest. "
            "NLL / best is the geometric mean over cells of the ratio to the best method in the cell. Seconds are means over "
            "the cells that were measured on one machine, - where there are none; those of predicting are of "
            f"{' or '.join(map(str, tests))} rows. {_machines(records)}; `paper_repro/defaults/run.py`.",
        ]
    )


def short() -> str:
    """Say in one line for each number of rows which method was best at what."""
    lines = [
        "| rows | cells | lowest NLL, nats | highest accuracy | cells with ECE within noise | shortest fit |",
        "|" + "---|" * 6,
    ]
    for n, names, cells in _sizes(newest_defaults()):
        if len(names) < 2:
            continue
        runs = {name: _runs(cells, name) for name in names}
        timed = on_one_machine(cells, names)
        seconds = {name: _runs(timed, name) for name in names}
        picks = (
            _best(names, lambda name, runs=runs: mean(runs[name], "nll"), lambda v: f"{v:.3f}", CLOSE),
            _best(
                names,
                lambda name, runs=runs: -mean(runs[name], "accuracy"),
                lambda v: f"{-100 * v:.1f} %",
                CLOSE_ACCURACY,
            ),
            _best(names, lambda name, runs=runs: -_kept(runs[name]), lambda v: f"{-v:.0f}", 0),
            _best(
                names, lambda name, runs=seconds: mean(runs[name], "fit_seconds"), lambda v: f"{v:.0f} s", CLOSE_SECONDS
            )
            if timed
            else "-",
        )
        lines.append(f"| {n:,} | {len(cells)} | {' | '.join(picks)} |")
    lines += [
        "",
        f"Named are the best and those within {CLOSE} nats, {100 * CLOSE_ACCURACY:g} points of accuracy or {CLOSE_SECONDS} "
        "seconds of it, over the cells (task x seed) that have all methods of the size, which the next table lists. A "
        "size at which one method alone was measured compares nothing and is left out.",
    ]
    return "\n".join(lines)


def _best(names: list[str], value: Callable[[str], float], write: Callable[[float], str], close: float) -> str:
    """Return the names whose value is within `close` of the lowest, each with its value, the lowest first."""
    values = {name: value(name) for name in names}
    near = sorted((v, name) for name, v in values.items() if v <= min(values.values()) + close)
    return ", ".join(f"`{name}` ({write(v)})" for v, name in near)


def _sizes(records: list[dict[str, Any]]) -> Iterator[tuple[int, list[str], list[Cell]]]:
    """Yield each number of rows, its methods in order, and the cells that have all of them."""
    cells: dict[tuple[str, int, int], Cell] = {}
    for record in records:
        cells.setdefault((record["task"], record["n"], record["seed"]), {})[record["method"]] = record
    for n in sorted({key[1] for key in cells}):
        yield n, *_comparable([cell for key, cell in cells.items() if key[1] == n])


def _runs(cells: list[Cell], name: str) -> list[dict[str, Any]]:
    return [cell[name] for cell in cells]


def _kept(runs: list[dict[str, Any]]) -> int:
    """Return how many runs have an ECE that a calibrated model shows on as many rows."""
    return sum(run["ece"] <= run["ece_noise"] for run in runs)


def _comparable(cells: list[Cell]) -> tuple[list[str], list[Cell]]:
    """Return methods and the cells that have them all: every method measured, or those of the most common set."""
    names = [name for name in ORDER if any(name in cell for cell in cells)]
    whole = [cell for cell in cells if all(name in cell for name in names)]
    if whole:
        return names, whole
    # One method alone compares with nothing.
    sets = {frozenset(cell) for cell in cells if len(cell) > 1} or {frozenset(cell) for cell in cells}
    most = max(sorted(sets, key=sorted), key=lambda found: sum(found <= set(cell) for cell in cells))
    return [name for name in ORDER if name in most], [cell for cell in cells if most <= set(cell)]


def by_latency() -> str:
    """What a prediction and a fit cost: passes, seconds of a fit, trained numbers, and what they buy, at 500 rows."""
    records = [
        r for r in newest("posteriors") if (r["model"], r["limit"]) == ("minilm", 500) and "_r" not in r["method"][-4:]
    ]
    tasks = sorted({r["task"] for r in records})
    methods = sorted({r["method"] for r in records})
    lines = [
        "| passes for a prediction | method | " + " | ".join(f"{TITLES[t]}: NLL, nats" for t in tasks) + " | "
        + " | ".join(f"{TITLES[t]}: ECE, %" for t in tasks) + " | fit, s | trained numbers |",
        "|" + "---|" * (4 + 2 * len(tasks)),
    ]  # fmt: skip
    rows = []
    for method in methods:
        runs = [r for r in records if r["method"] == method]
        if {r["task"] for r in runs} != set(tasks):
            continue
        forward, back = runs[0]["forward_passes"], runs[0].get("backward_passes") or 0
        cells = [f"{forward}" + (f" + {back} back" if back else ""), f"`{method}`"]
        for field, factor, digits in (("nll", 1, 3), ("ece", 100, 1)):
            for task in tasks:
                cells.append(f"{factor * mean([r for r in runs if r['task'] == task], field):.{digits}f}")
        # A row that builds on a kept fit of another method says only its own seconds.
        seconds = "after a fit" if runs[0].get("start") else f"{mean(runs, 'train_seconds'):.0f}"
        nll = sum(mean([r for r in runs if r["task"] == task], "nll") for task in tasks)
        rows.append(((forward + back, nll), [*cells, seconds, f"{runs[0]['trainable']:,}"]))
    lines += ["| " + " | ".join(cells) + " |" for _, cells in sorted(rows)]
    lines += [
        "",
        f"MiniLM, 500 rows, means over seeds; methods measured on all of {', '.join(TITLES[t] for t in tasks)}, fewest passes "
        "first, the lowest mean NLL first among equals. \"After a fit\": it is built on the kept fit of `mle` or `map`. "
        f"{_machines(records)}; `paper_repro/posteriors/run.py`.",
    ]  # fmt: skip
    return "\n".join(lines)


def draws_in_passes() -> str:
    """What ten draws cost, in passes of one plain LoRA: the range over sizes, for each network and method."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in read("draws_speed"):
        layers = f"last {r['last']} blocks" if r["last"] else "all blocks"
        groups.setdefault((r["model"], r["method"], layers, r["draws"], r["machine"]), []).append(r)
    if not groups:
        return "not measured yet"
    lines = [
        "| network | method | adapted | draws | passes that they cost, as the package folds | all folded | machine |",
        "|" + "---|" * 7,
    ]
    for (model, method, layers, count, machine), runs in groups.items():
        ours = [r["auto_ms"] / r["pass_ms"] for r in runs]
        folded = [r["folded_ms"] / r["pass_ms"] for r in runs]
        lines.append(
            f"| {TITLES.get(model, model)} | `{method}` | {layers} | {count} | {min(ours):.1f} to {max(ours):.1f} | "
            f"{min(folded):.1f} to {max(folded):.1f} | {machine} |"
        )
    return "\n".join(lines)


def by_need() -> str:
    """Which score of which method tells other data apart: the mean AUROC over kinds of other data."""
    records = list({(r["task"], r["method"], r["seed"]): r for r in read("ood")}.values())
    scores = ("max_probability", "entropy", "mutual_information")
    lines = ["| method | NLL, nats | " + " | ".join(s.replace("_", " ") for s in scores) + " |", "|" + "---|" * 5]
    rows = []
    for method in sorted({r["method"] for r in records}):
        runs = [r for r in records if r["method"] == method]
        found = []
        for score in scores:
            values = [s["auroc"] for r in runs for s in r["separation"] if s["score"] == score]
            found.append(sum(values) / len(values) if values else None)
        rows.append((-max(v for v in found if v is not None), method, mean(runs, "nll"), found))
    for _, method, nll, found in sorted(rows):
        values = " | ".join("-" if v is None else f"{v:.2f}" for v in found)
        lines.append(f"| `{method}` | {nll:.3f} | {values} |")
    kinds = list(dict.fromkeys(s["data"].replace("_", " ") for r in records for s in r["separation"]))
    return "\n".join(
        [
            *lines,
            "",
            f"Mean AUROC of each score over {', '.join(kinds)} against test rows of the task; 0.5 is chance, the highest "
            f"first. {_machines(records)}; `paper_repro/ood/run.py`.",
        ]
    )


def _machines(records: list[dict[str, Any]]) -> str:
    """Name the machines and the days that records come from."""
    machines = " and ".join(sorted({r["machine"] for r in records}))
    days = sorted({r["date"] for r in records})
    return f"{machines}, {' to '.join(dict.fromkeys([days[0], days[-1]]))}"
