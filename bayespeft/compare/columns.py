"""The columns of a comparison beside the metrics: other data, mutual information, and what a search for rates chose."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bayespeft.compare.tuning import Tuned
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.metric import UNKNOWN, Figure
from bayespeft.report.view.table import plain_cells

SCORE = "entropy"
"""The score that tells other data from test rows: all methods have it, and it goes by the probabilities of all classes."""


@dataclass(frozen=True)
class Column:
    """A figure of reports that is no metric of the test rows' probabilities.

    Attributes:
        heading: of the column.
        figure: gives it.
        note: a sentence for the caption.
    """

    heading: str
    figure: Callable[[CalibrationReport], Figure]
    note: str

    def cells(self, figure: Figure) -> tuple[str, str]:
        """Return value and interval as they are shown; of what is unknown a dash."""
        return plain_cells(figure)


def _separation(data: str) -> Column:
    def figure(report: CalibrationReport) -> Figure:
        return next((row.auroc for row in report.ood if row.data == data and row.score == SCORE), None)

    note = f"{data} AUROC: the chance that a row of {data} has a larger predictive entropy than a test row"
    return Column(f"{data} AUROC", figure, note)


INFORMATION = Column(
    "MI (nats)",
    lambda report: report.mutual_information,
    f"MI: mean mutual information of label and weights, {UNKNOWN} where one network predicts",
)


def further(reports: Sequence[CalibrationReport]) -> tuple[Column, ...]:
    """Return those columns that a report has something for."""
    names = dict.fromkeys(row.data for report in reports for row in report.ood)
    columns = (*map(_separation, names), INFORMATION)
    return tuple(c for c in columns if any(c.figure(report) is not None for report in reports))


def rates(runs: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the rates that searches chose, and the seconds that they took, as texts."""
    found = [Tuned.from_dict(run["tuned"]) for run in runs if run.get("tuned")]
    if not found:
        return UNKNOWN, UNKNOWN
    own = found[0].lr / found[0].multiple
    chosen = ", ".join(f"{tuned.multiple:g}" for tuned in found)
    return f"{chosen} x {own:.3g}", f"{statistics.mean(tuned.seconds for tuned in found):.0f}"


def rates_note(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the searches were, in a sentence; none where there was none."""
    searched = [(run, Tuned.from_dict(run["tuned"])) for run in runs if run.get("tuned")]
    if not searched:
        return []
    grids = sorted({tuned.multiples for _, tuned in searched})
    rows = sorted({tuned.held_out for _, tuned in searched})
    edge = sorted({run["title"] for run, tuned in searched if tuned.at_the_edge})
    return [
        "rate: the multiple of the method's own lr (and of all its other rates) with the least NLL on "
        f"{' or '.join(f'{n:,}' for n in rows)} training rows held out, of "
        f"{' and '.join('{' + ', '.join(f'{m:g}' for m in grid) + '}' for grid in grids)}, one for each seed; search: what "
        "that took, for all of them; fit: the fit to all training rows that followed"
        + (f". At an end of its grid, so that a rate beyond may be better: {', '.join(edge)}" if edge else "")
    ]
