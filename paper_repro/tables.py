"""Writes the tables of the documentation from the registry and the one results file.

python -m paper_repro.tables          # rewrites README.md, those of paper_repro/ and docs/ between their markers
python -m paper_repro.tables --check  # fails where one of them is out of date
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import bayespeft
from paper_repro import active_learning, held, paper_tables
from paper_repro.architectures import tables as architectures
from paper_repro.defaults import choice, vera_rate
from paper_repro.defaults import tables as defaults
from paper_repro.defaults.example import example
from paper_repro.efficiency import tables as efficiency
from paper_repro.generation import tables as generation
from paper_repro.house import tables as house
from paper_repro.ood import tables as ood
from paper_repro.posteriors import tables as posteriors
from paper_repro.references import tables as references
from paper_repro.results import read
from paper_repro.sparse import tables as sparse
from paper_repro.statistics import tables as statistics
from paper_repro.structure import tables as structure
from paper_repro.subspace import tables as subspace
from paper_repro.text import TITLES, spread, up_to_date
from paper_repro.trust import tables as trust

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "paper_repro" / "README.md",
    *paper_tables.PAGES,
    *sorted((ROOT / "docs").glob("**/*.md")),
)


def calibration(all_draws: bool = False) -> str:
    """MiniLM on two tasks: mean and standard deviation over seeds, by method and number of draws."""
    records = read("calibration")
    header = [
        "| task | method | draws | accuracy, % | NLL, nats | ECE, % | KL, nats |",
        "|---|---|---|---|---|---|---|",
    ]
    lines: dict[tuple[str, str, str], str] = {}
    for record in records:
        shown = list(record["draws"]) if all_draws else [list(record["draws"])[-1]]
        for draws in shown:
            key = (record["task"], record["method"], draws)
            if key in lines:
                continue
            runs = [r for r in records if (r["task"], r["method"]) == key[:2] and draws in r["draws"]]
            values = {m: [r["draws"][draws][m] for r in runs] for m in ("accuracy", "nll", "ece")}
            lines[key] = (
                f"| {TITLES.get(key[0], key[0])} | `{key[1]}` | {draws} | {spread(values['accuracy'], 100, 1)} | "
                f"{spread(values['nll'], 1, 3)} | {spread(values['ece'], 100, 1)} | "
                f"{spread([r['kl'] for r in runs], 1, 0)} |"
            )
    order = ["mle", "map", "melora", "blob"]
    ranked = sorted(lines, key=lambda k: (k[0], order.index(k[1]) if k[1] in order else 9, int(k[2])))
    return "\n".join(header + [lines[key] for key in ranked])


def caption() -> str:
    """Where the numbers of the calibration table come from."""
    records = read("calibration")
    if not records:
        return ""
    seeds = len({r["seed"] for r in records})
    tests = ", ".join(f"{TITLES.get(t, t)} {n}" for t, n in sorted({(r["task"], r["test_rows"]) for r in records}))
    older = sorted({f"`{r['method']}`" for r in records if not up_to_date(r)})
    note = f" Measured before the defaults changed: {', '.join(older)}." if older else ""
    return (
        f"MiniLM, {records[0]['limit']} training rows, mean ± standard deviation over {seeds} seeds (test rows: {tests}). "
        f"{records[-1]['machine']}, {records[-1]['date']}; `paper_repro/calibration/run.py`.{note}"
    )


def records(experiment: str) -> str:
    """The newest record of an experiment, field by field."""
    found = read(experiment)
    if not found:
        return "not measured yet"
    hidden = {"experiment", "versions", "command"}
    return "\n".join(["| | |", "|---|---|"] + [f"| {k} | {v} |" for k, v in found[-1].items() if k not in hidden])


SECTIONS: dict[str, Callable[[], str]] = {
    "methods": lambda: bayespeft.methods().markdown(others=False),
    # What stands within HTML is Markdown to GitHub, and to MkDocs only where it is said.
    "methods: site": lambda: bayespeft.methods().markdown().replace("<details>", '<details markdown="1">'),
    "results: defaults": defaults.summary,
    "results: active learning": active_learning.table,
    "results: defaults by task": defaults.defaults,
    "results: defaults on networks": lambda: defaults.defaults("networks"),
    "results: held": held.held,
    "results: held: ROSA": held.expressive,
    "results: report example": example,
    "results: choice": choice.short,
    "results: choice by size": choice.by_size,
    "results: choice by latency": choice.by_latency,
    "results: choice of draws": choice.draws_in_passes,
    "results: choice by need": choice.by_need,
    "results: calibration by draws": lambda: caption() + "\n\n" + calibration(all_draws=True),
    "results: posteriors": posteriors.posteriors,
    "results: covariances": posteriors.covariances,
    "results: draws": posteriors.draws,
    "results: structure": structure.structure,
    "results: ood": ood.separation,
    "results: synthetic": subspace.synthetic,
    "results: subspace": subspace.glue,
    "results: subspace ablation": subspace.ablation,
    "results: subspace bayes": lambda: posteriors.posteriors("subspace_bayes"),
    "results: step": efficiency.steps,
    "results: large step": efficiency.large,
    "results: draws speed": efficiency.draws,
    "results: reports": efficiency.reports,
    "results: decisions": efficiency.decisions,
    "results: prediction": efficiency.prediction,
    "results: processes": efficiency.processes,
    "results: plan": efficiency.plans,
    "results: projection": efficiency.projection,
    "results: sparse step": sparse.steps,
    "results: sparse mask": sparse.masks,
    "results: vera rate": vera_rate.table,
    "results: pyro": lambda: records("pyro_share"),
    "results: smollm2": lambda: records("smollm2"),
    "results: generation speed": generation.speed,
    "results: generation errors": generation.errors,
    "results: decide power": statistics.power,
    "results: decide validity": statistics.validity,
    "results: interval coverage": statistics.coverage,
    "results: separation coverage": statistics.separation,
    "results: clustered coverage": statistics.clustered,
    "results: conformal": statistics.conformal,
    "results: paired test": statistics.paired,
    "results: mutual information": statistics.information,
    "results: agreement": references.agreements,
    "results: architectures": architectures.counts,
    "results: architectures: ok": architectures.fine,
    "results: architectures: others": architectures.others,
    "results: climbs": house.climbs,
    "results: faults": trust.faults,
    "results: mutants": trust.mutants,
    "results: soak": trust.soaks,
    **paper_tables.SECTIONS,
}


def render(page: str) -> str:
    """Replace what stands between `<!-- name -->` and `<!-- end -->` for each known section."""
    for name, write in SECTIONS.items():
        pattern = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
        if re.search(pattern, page, flags=re.S):
            text = write()
            page = re.sub(pattern, lambda m, t=text: f"{m[1]}{t}\n{m[2]}", page, flags=re.S)
    return page


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        if check and render(page) != page:
            raise SystemExit(f"{path.name} is out of date: run python -m paper_repro.tables")
        path.write_text(render(page), encoding="utf-8")


if __name__ == "__main__":
    main()
