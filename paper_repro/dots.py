"""The pictures of a paper's folder: each method of an experiment as a dot, its seeds as small ones; drawn from the results.

    python -m paper_repro.dots          # draws those of all papers anew

A picture stands beside the table of the same records, whose mean and standard deviation it shows.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bayespeft.report.view import plots
from paper_repro.paper import Experiment
from paper_repro.papers import PAPERS
from paper_repro.posteriors.tables import newest
from paper_repro.text import TITLES

FOLDER = Path(__file__).parent
# Whose records have what a panel shows: a factor and a title each.
PANELS = {"accuracy": (100, "accuracy, %"), "nll": (1, "NLL, nats"), "ece": (100, "ECE, %")}
EXPERIMENTS = ("posteriors", "variants", "subspace_glue")
COLOURS = (plots.BLUE, plots.VERMILION, plots.SKY, plots.GREY)


def shown(experiment: Experiment) -> list[dict[str, Any]]:
    """Return the newest record of each of an experiment's methods, tasks and seeds on MiniLM."""
    return [
        r
        for r in newest(experiment.name)
        if r["model"] == "minilm" and r["method"] in experiment.methods and r["task"] in experiment.tasks
    ]


def draw(records: Sequence[Mapping[str, Any]], methods: Sequence[str], tasks: Sequence[str]) -> Figure:
    """Draw a panel for each figure, a line for each method and a colour for each task.

    Args:
        records: with method, task, and the figures of `PANELS`.
        methods: from top to bottom; those without a record are left out.
        tasks: in the order of their colours.
    """
    lines = [name for name in methods if any(r["method"] == name for r in records)]
    figure = Figure(figsize=(10, 1.2 + 0.32 * len(lines)), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axis, (measure, (factor, title)) in zip(panels, PANELS.items(), strict=True):
        for number, task in enumerate(tasks):
            shift = 0.16 * (number - (len(tasks) - 1) / 2)
            for line, name in enumerate(lines):
                values = [factor * r[measure] for r in records if (r["method"], r["task"]) == (name, task)]
                if not values:
                    continue
                axis.plot(values, [line + shift] * len(values), ".", color=COLOURS[number], alpha=0.5, markersize=5)
                label = TITLES.get(task, task) if axis is panels[0] and line == 0 else None
                axis.plot(statistics.mean(values), line + shift, "D", color=COLOURS[number], markersize=6, label=label)
        axis.set_title(title, fontsize=11)
        axis.grid(axis="x", color="#dddddd", linewidth=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(lines)), lines)
    panels[0].invert_yaxis()
    if len(tasks) > 1:
        figure.legend(loc="outside lower center", ncols=len(tasks), frameon=False, fontsize=9)
    return figure


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for paper in PAPERS.values():
        for experiment in paper.experiments:
            name = f"{experiment.name}.png"
            if experiment.name in EXPERIMENTS and name in paper.figures:
                picture = draw(shown(experiment), experiment.methods, experiment.tasks)
                plots.save(picture, FOLDER / paper.name / name)


if __name__ == "__main__":
    main()
