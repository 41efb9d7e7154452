"""Tables of the default call on tasks that chose nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from paper_repro.results import read
from paper_repro.text import TITLES

ORDER = ("mle", "mle_temperature", "melora", "melora_elbo", "map", "blob", "laplace_lora")
NAMES = {"newswire": "Newswire (8)", "newsgroups": "Newsgroups (5)", "newsgroups20": "Newsgroups (20)", "wic": "WiC"}


def newest(part: str = "report") -> list[dict[str, Any]]:
    """Return the newest record of each run of a part; a name that tells other networks than MiniLM is part of the task."""
    found = {}
    for record in read("defaults"):
        if record["part"] == part:
            named = record | {"task": record["task"] + (f", {record['model']}" if record.get("model") else "")}
            found[tuple(named[k] for k in ("task", "n", "seed", "method"))] = named
    return list(found.values())


def defaults(part: str = "report") -> str:
    """Each task and size: accuracy, NLL, ECE beside what noise reaches, steps and seconds.

    They are means over the seeds that all methods of a task and size have: means over different rows would compare nothing.
    """
    records = newest(part)
    lines = [
        "| task | rows | seeds | method | accuracy, % | NLL, nats | ECE, % (noise) | temperature | prior's weight "
        "| steps (of the search) "
        "| fit, s | measured |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    cells = sorted({(r["task"], r["n"]) for r in records}, key=lambda cell: (cell[1], cell[0]))
    for task, n in cells:
        here = [r for r in records if (r["task"], r["n"]) == (task, n)]
        methods = [method for method in ORDER if any(r["method"] == method for r in here)]
        mixed = len({r["machine"] for r in here}) > 1
        shared = set.intersection(*({r["seed"] for r in here if r["method"] == method} for method in methods))
        for method in methods:
            runs = [r for r in here if r["method"] == method and r["seed"] in shared]
            if runs:
                name = NAMES.get(task, TITLES.get(task, task))
                lines.append(
                    f"| {name} | {n} | {len(shared)} | `{method}` | "
                    f"{100 * mean(runs, 'accuracy'):.1f} | {mean(runs, 'nll'):.3f} | "
                    f"{100 * mean(runs, 'ece'):.1f} ({100 * mean(runs, 'ece_noise'):.1f}) | "
                    f"{mean(runs, 'temperature'):.2f} | {weights(runs)} | "
                    f"{mean(runs, 'steps'):.0f} ({mean(runs, 'search_steps'):.0f}) | "
                    f"{mean(runs, 'fit_seconds'):.0f}{f' ({kinds(runs)})' if mixed else ''} | "
                    f"{', '.join(sorted({run['date'] for run in runs}))} |"
                )
    return "\n".join(lines)


def weights(runs: list[dict[str, Any]]) -> str:
    """Return the weights of the prior that held-out rows chose in these runs; "-" where nobody asked them."""
    return ", ".join(sorted({f"{run['kl_weight']:g}" for run in runs if run.get("kl_weight") is not None})) or "-"


def summary() -> str:
    """The default against the reference, over all cells that have both."""
    records = newest()
    by_cell: dict[tuple[str, int, int], dict[str, dict[str, Any]]] = {}
    for record in records:
        by_cell.setdefault((record["task"], record["n"], record["seed"]), {})[record["method"]] = record
    pairs = [cell for cell in by_cell.values() if {"melora", "mle", "mle_temperature"} <= cell.keys()]
    if not pairs:
        return "Not measured yet."
    ratios = [cell["melora"]["nll"] / cell["mle_temperature"]["nll"] for cell in pairs]
    inside = sum(cell["melora"]["ece"] <= cell["melora"]["ece_noise"] for cell in pairs)
    worst = max(cell["melora"]["ece"] / cell["melora"]["ece_noise"] for cell in pairs)
    ece = sum(cell["melora"]["ece"] for cell in pairs) / sum(cell["mle"]["ece"] for cell in pairs)
    accuracy = sum(cell["melora"]["accuracy"] - cell["mle"]["accuracy"] for cell in pairs) / len(pairs)
    # Steps, not seconds: a step of the two takes the same time, and cells are of several machines.
    cost = geometric(
        (cell["melora"]["steps"] + cell["melora"]["search_steps"]) / cell["mle"]["steps"] for cell in pairs
    )
    one, machines = records[0], sorted({cell[name]["machine"] for cell in pairs for name in ("melora", "mle")})
    days = sorted({cell[name]["date"] for cell in pairs for name in ("melora", "mle")})
    return (
        f"Over {len(pairs)} cell{'s' * (len(pairs) > 1)} (task x rows x seed), `melora` with nothing set against LoRA by "
        "maximum likelihood, the best "
        f"rate of a grid, to its end: NLL {geometric(ratios):.2f} of that with a held-out temperature (worst cell "
        f"{max(ratios):.2f}); ECE within what noise reaches in {inside} of {len(pairs)} cells (worst {worst:.1f} times it), "
        f"{ece:.2f} of that without a temperature; accuracy {100 * accuracy:+.1f} points; the fit takes {cost:.1f} times the "
        "optimiser steps of one run of it. "
        f"MiniLM, inputs of {one['max_length']} tokens, {one['test_rows']} test rows, "
        f"{' and '.join(machines)}, {' to '.join(dict.fromkeys([days[0], days[-1]]))}; `paper_repro/defaults/run.py`."
    )


def on_one_machine(cells: Iterable[dict[str, dict[str, Any]]], names: Iterable[str]) -> list[dict[str, dict[str, Any]]]:
    """Return the cells whose runs of some methods are of one machine: seconds of two machines compare nothing."""
    wanted = list(names)
    return [cell for cell in cells if len({cell[name]["machine"] for name in wanted}) == 1]


def kinds(runs: list[dict[str, Any]]) -> str:
    """Say on what runs were made."""
    return ", ".join(sorted({"GPU" if "NVIDIA" in run["machine"] else "CPU" for run in runs}))


def mean(runs: list[dict[str, Any]], name: str) -> float:
    return sum(run[name] for run in runs) / len(runs)


def geometric(ratios: Iterable[float]) -> float:
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs))
