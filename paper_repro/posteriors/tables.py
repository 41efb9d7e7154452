"""Tables of this folder's measurements, written from the results file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bayespeft import registry
from paper_repro.results import read
from paper_repro.text import TITLES, spread, title

ORDER = (
    "mle",
    "map",
    "mc_dropout",
    "ensemble",
    "temperature",
    "laplace_lora",
    "laplace_lora_diagonal",
    "laplace_last_layer",
)
SOURCES = {
    "posteriors": "paper_repro/posteriors/run.py",
    "subspace_bayes": "paper_repro/subspace/bayes.py",
    "variants": "paper_repro/posteriors/variants.py",
}
RANKED = re.compile(r"^(.*)_r(\d+)$")


def newest(experiment: str) -> list[dict[str, Any]]:
    """Return one record for each network, task, number of rows, method and seed: the newest."""
    found = {tuple(r[k] for k in ("model", "task", "limit", "method", "seed")): r for r in read(experiment)}
    return list(found.values())


def posteriors(experiment: str = "posteriors", methods: Sequence[str] | None = None, tasks: Sequence[str] = ()) -> str:
    """Every method on the same rows, or those that are named: mean and standard deviation over the seeds done."""
    records = [r for r in newest(experiment) if not RANKED.match(r["method"])]
    if methods is not None:
        records = [r for r in records if r["method"] in methods and r["task"] in tasks and r["model"] == "minilm"]
    if not records:
        return "not measured yet"
    known = list(registry.names("methods"))
    lines = [
        f"MiniLM and 500 training rows where nothing else is named, at most {max(r['test_rows'] for r in records)} test rows "
        "after a seeded shuffle, mean ± standard deviation over seeds. Brier from 0 to 2; MI is mutual information, nats; "
        "seconds are one run's on a busy machine; `T` marks a row that builds on the kept fit of `mle` or `map`, whose "
        f"training its seconds don't hold. {records[-1]['machine']}, {records[-1]['date']}; `{SOURCES[experiment]}`.",
        "",
        "| task | method | seeds | accuracy, % | NLL, nats | ECE, % | Brier | MI | train, s | trainable | passes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = list(dict.fromkeys([*ORDER, *(methods or known), *(r["method"] for r in records)]))
    groups = sorted(
        {(title(r), r["method"]) for r in records},
        key=lambda k: (k[0], order.index(k[1])),
    )
    for task, method in groups:
        runs = [r for r in records if (title(r), r["method"]) == (task, method)]
        passes = str(runs[0]["forward_passes"]) + (
            f" + {runs[0]['backward_passes']} back" if runs[0].get("backward_passes") else ""
        )
        seconds = spread([r["train_seconds"] for r in runs], 1, 0) + (" T" if runs[0].get("start") else "")
        cells = [
            task,
            f"`{method}`",
            str(len(runs)),
            spread([r["accuracy"] for r in runs], 100, 1),
            spread([r["nll"] for r in runs], 1, 3),
            spread([r["ece"] for r in runs], 100, 1),
            spread([r["brier"] for r in runs], 1, 3),
            f"{sum(r['mutual_information'] for r in runs) / len(runs):.4f}",
            seconds,
            f"{runs[0]['trainable']:,}",
            passes,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def covariances() -> str:
    """Which covariance family pays, by rank of the core."""
    records = newest("posteriors")
    rows = []
    for r in records:
        match = RANKED.match(r["method"])
        rank = int(match[2]) if match else r["settings"]["adapter"].get("r")
        rows.append(((title(r), match[1] if match else r["method"], rank), r))
    ranked = {(task, method) for (task, method, _), r in rows if RANKED.match(r["method"])}
    chosen = sorted({key for key, _ in rows if key[:2] in ranked}, key=lambda k: (k[0], k[2], k[1]))
    if not chosen:
        return "not measured yet"
    lines = [
        "| task | r | method | seeds | accuracy, % | NLL, nats | ECE, % | KL, nats | trainable |",
        "|" + "---|" * 9,
    ]
    for task, method, rank in chosen:
        runs = [r for key, r in rows if key == (task, method, rank)]
        lines.append(
            f"| {task} | {rank} | `{method}` | {len(runs)} | "
            f"{spread([r['accuracy'] for r in runs], 100, 1)} | "
            f"{spread([r['nll'] for r in runs], 1, 3)} | {spread([r['ece'] for r in runs], 100, 1)} | "
            f"{spread([r['kl'] for r in runs], 1, 0)} | {runs[0]['trainable']:,} |"
        )
    return "\n".join(lines)


def draws() -> str:
    """Error of the averaged prediction by number and kind of draws, and of the linearised one."""
    records = list({(r["task"], r["method"]): r for r in read("draws")}.values())
    if not records:
        return "not measured yet"
    lines = []
    for r in records:
        lines += [
            f"`{r['method']}` on {TITLES.get(r['task'], r['task'])}, {r['test_rows']} rows; truth: {r['truth_draws']} plain "
            f"draws, NLL {r['truth']['nll']:.4f} ± {r['truth_error']:.4f}; posterior mean (0 draws): NLL "
            f"{r['mean']['nll']:.4f}, ECE {100 * r['mean']['ece']:.1f} %. Root mean square errors over "
            f"{r['draw_seeds']} seeds.",
            "",
            "| draws | kind | NLL, nats | error of NLL | error of probabilities |",
            "|---|---|---|---|---|",
        ]
        for k in next(iter(r["curves"].values())):
            for kind, curve in r["curves"].items():
                c = curve[k]
                lines.append(f"| {k} | {kind} | {c['nll']:.4f} | {c['nll_error']:.4f} | {c['probability_error']:.4f} |")
        for name, of in (("linearised", "Linearised"), ("direction", "Linearised along one direction of each example")):
            c = r.get(name)
            if not c:
                continue
            lines += [
                "",
                f"{of}: {c['forward_passes']} forward and {c['backward_passes']} backward passes, {c['seconds']} s "
                f"(a draw takes {r['seconds_per_draw']} s): NLL {c['nll']:.4f}, ECE {100 * c['ece']:.1f} %, error of "
                f"probabilities {c['probability_error']:.4f}, mutual information {c['mutual_information']:.4f} (sampled "
                f"{c['truth_mutual_information']:.4f}).",
            ]
        lines.append("")
    return "\n".join(lines).rstrip()
