"""The picture of d90: accuracy by d, beside nine tenths of what training all weights reaches; drawn from the results.

python -m paper_repro.intrinsic_dimension.plot     # writes dimension.png beside this file
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayespeft.report.view import plots
from paper_repro.intrinsic_dimension.dimension import SHARE, Records, by_task
from paper_repro.results import read

PICTURE = Path(__file__).with_name("dimension.png")
COLOURS = {"fastfood": plots.BLUE, "dense": plots.VERMILION}


def panel(axis: Axes, title: str, records: Records) -> None:
    """Draw accuracy (in %) by d for each projection, each seed a small dot, and the line that d90 has to reach."""
    newest = {(r["projection"], r["d"], r["seed"]): 100 * r["accuracy"] for r in records}
    whole = statistics.mean(a for (p, _, _), a in newest.items() if p == "all")
    for projection, colour in COLOURS.items():
        tried = sorted({d for p, d, _ in newest if p == projection})
        seeds = [[a for (p, size, _), a in newest.items() if (p, size) == (projection, d)] for d in tried]
        for d, values in zip(tried, seeds, strict=True):
            axis.plot([d] * len(values), values, ".", color=colour, alpha=0.5)
        axis.plot(tried, [statistics.mean(values) for values in seeds], "o-", color=colour, label=projection)
    axis.axhline(SHARE * whole, color=plots.GREY, linestyle="--", label="nine tenths of all weights")
    axis.set(xscale="log", xlabel="d", title=title)
    axis.grid(color="#dddddd", linewidth=0.5)
    axis.spines[["top", "right"]].set_visible(False)


def draw(cases: list[tuple[str, Records]]) -> Figure:
    """Draw a panel for each task, as (title, records)."""
    figure = Figure(figsize=(4.4 * len(cases), 3.6), layout="constrained")
    axes = figure.subplots(1, len(cases), squeeze=False)[0]
    for axis, (title, records) in zip(axes, cases, strict=True):
        panel(axis, title, records)
    axes[0].set_ylabel("accuracy, %")
    axes[0].legend(frameon=False, fontsize=9)
    return figure


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    plots.save(draw([("scanned digits", read("intrinsic_digits")), *by_task(read("intrinsic"))]), PICTURE)


if __name__ == "__main__":
    main()
