"""`Comparison`: finished runs, and what is made of them: tables, plots, verdicts."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.table import Table

from bayespeft.compare import formats
from bayespeft.compare.columns import SCORE
from bayespeft.compare.groups import Group, groups
from bayespeft.compare.layout import grid
from bayespeft.compare.results import NAME, Results
from bayespeft.compare.run import Failure
from bayespeft.compare.scores import tested
from bayespeft.compare.study import Run
from bayespeft.compare.tuning import Tuned
from bayespeft.posterior.account import training
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.context import Setup
from bayespeft.report.metric import value_of
from bayespeft.training.history import History
from bayespeft.utils.checks import checked_methods
from bayespeft.utils.files import write_atomic

TABLES = {"table.md": formats.markdown, "table.tex": formats.latex, "table.html": formats.page}
FAILURES = "failures.txt"


@checked_methods
@dataclass(frozen=True)
class Comparison:
    """Finished runs of methods on data sets, with seeds.

    Attributes:
        runs: plain JSON: `method` (its name), `title`, `data` (the name of the data set), `seed`, `settings` (all that
            decides the result), `report` (`CalibrationReport.to_dict`), `history` (`History.to_dict`), `scores` (see
            `bayespeft.compare.scores`), `device`, `versions`; where rates were searched for `tuned` (`Tuned.to_dict`).
        failures: runs that failed, which are in no table.
    """

    runs: tuple[Run, ...]
    failures: tuple[Failure, ...] = ()

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The runs of each network and data set."""
        return groups(self.runs)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One flat row per run: model, data, method, title, seed, the metrics (fractions and nats), costs.

        `ood_auroc` is of each other data by name, by the predictive entropy; `rate_multiple`, `lr` and `search_seconds` are
        those of a search for the rates, and None where there was none.
        """
        return [_row(group, run) for group in self.groups for run in group.all]

    @property
    def tests(self) -> list[dict[str, Any]]:
        """One flat row per network, data set, metric and method that is not the best: `p`, after Holm's correction.

        It is for all pairs of methods, as the best is chosen by the same data. ECE is not tested. See
        `bayespeft.compare.significance`.
        """
        return [
            {
                "model": group.model,
                "data": group.label,
                "metric": spec.name,
                "best": verdict.best,
                "method": other,
                "p": p,
            }
            for group in self.groups
            for spec in tested()
            for verdict in [group.verdict(spec.name)]
            for other, p in verdict.p.items()
        ]

    @property
    def headlines(self) -> list[str]:
        """The verdict of the first seed of each method, in words."""
        where = [f"{group.model} on {group.label}, " if len(self.groups) > 1 else "" for group in self.groups]
        return [
            f"{place}{title}: {report.headline}"
            for place, group in zip(where, self.groups, strict=True)
            for title, report in _first(group).items()
        ]

    def table(self) -> Table:
        """Return a table: mean and standard deviation over seeds, or one seed's values with their 95 % intervals.

        The best accuracy, NLL and Brier score are bold where they differ from all the others: see
        `bayespeft.compare.significance`. Seconds are those of fitting, on the machine that ran it.
        """
        return formats.terminal(grid(self.groups))

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        return formats.markdown(grid(self.groups))

    def to_latex(self) -> str:
        """Return the table as LaTeX, no wider than the line; it needs the packages booktabs and graphicx."""
        return formats.latex(grid(self.groups))

    def _repr_html_(self) -> str:
        """What a notebook shows: the table."""
        return formats.card(grid(self.groups))

    def to_html(self) -> str:
        """Return the table as a page of HTML."""
        return formats.page(grid(self.groups))

    def save(self, out: str | os.PathLike[str], again: bool = False) -> None:
        """Write results, tables and plots into a folder: see `files`. Plots and reports show the first seed of each method.

        What `results.jsonl` holds already stays in it. Tracebacks of failures go to `failures.txt`.

        Args:
            out: the folder.
            again: where it holds another result of a run, this one goes over it.

        Raises:
            DataError: the file of results that is there can't be read.
        """
        from bayespeft.report.view import plots  # here: matplotlib takes half a second

        folder = Path(out)
        Results(folder).add(self.runs, again)
        laid_out = grid(self.groups)
        for name, write in TABLES.items():
            write_atomic(folder / name, write(laid_out).encode())
        for group, suffix in self._suffixes():
            rows = [{**_row(group, run), "method": group.titles[run["method"]]} for run in group.all]
            plots.save(plots.comparison(rows), folder / f"comparison{suffix}.png")
            plots.save(plots.reliability(_first(group)), folder / f"reliability{suffix}.png")
            for name, runs in group.runs.items():
                _full(runs[0]).to_html(folder / _page(name, suffix))
        write_failures(folder, self.failures)

    def files(self, out: str | os.PathLike[str]) -> dict[str, list[Path]]:
        """Return what `save` writes: what it is -> paths. Each network and data set has its own plots."""
        folder, suffixes = Path(out), [suffix for _, suffix in self._suffixes()]
        return {
            "Results": [folder / NAME],
            "Tables": [folder / name for name in TABLES],
            "Comparison": [folder / f"comparison{suffix}.png" for suffix in suffixes],
            "Reliability": [folder / f"reliability{suffix}.png" for suffix in suffixes],
            "Reports": [folder / _page(name, suffix) for group, suffix in self._suffixes() for name in group.runs],
            **({"Failures": [folder / FAILURES]} if self.failures else {}),
        }

    def _suffixes(self) -> Sequence[tuple[Group, str]]:
        """Each group with the end of its files' names, which differ."""
        if len(self.groups) == 1:
            return [(self.groups[0], "")]
        return [
            (group, "-" + re.sub(r"\W+", "-", f"{i} {Path(group.model).name} {Path(group.label).name}").strip("-"))
            for i, group in enumerate(self.groups, 1)
        ]


def write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Write the tracebacks of failed runs to `failures.txt`, in the place of earlier ones; no file where there are none."""
    (folder / FAILURES).unlink(missing_ok=True)
    if failures:
        text = "\n".join(f"{failure.title}\n{failure.details}" for failure in failures)
        write_atomic(folder / FAILURES, text.encode())


def _page(method: str, suffix: str) -> str:
    return f"report{suffix}-{quote(method, safe='')}.html"


def _full(run: Run) -> CalibrationReport:
    """Return the report of a run, with how the training went, its settings and its versions."""
    report, history = CalibrationReport.from_dict(run["report"]), History.from_dict(run["history"])
    return replace(report, training=training(history), setup=Setup(run["settings"], run.get("versions", {})))


def _first(group: Group) -> dict[str, CalibrationReport]:
    """Return title -> report of each method's first run."""
    several = len({run["seed"] for run in group.all}) > 1
    return {
        group.titles[name] + (f", seed {runs[0]['seed']}" if several else ""): CalibrationReport.from_dict(
            runs[0]["report"]
        )
        for name, runs in group.runs.items()
    }


def _row(group: Group, run: Run) -> dict[str, Any]:
    report = CalibrationReport.from_dict(run["report"])
    tuned = Tuned.from_dict(run["tuned"]) if run.get("tuned") else None
    return {
        "model": group.model,
        "data": group.label,
        "method": run["method"],
        "title": run["title"],
        "seed": run["seed"],
        **{name: value_of(figure) for name, figure in report.metrics.items()},
        "confidence": report.confidence,
        "mutual_information": report.mutual_information,
        "ood_auroc": {row.data: row.auroc.value for row in report.ood if row.score == SCORE},
        "rate_multiple": None if tuned is None else tuned.multiple,
        "lr": None if tuned is None else tuned.lr,
        "search_seconds": None if tuned is None else tuned.seconds,
        "fit_seconds": run["history"]["seconds"],
        "predict_seconds": report.seconds,
        "trainable_parameters": report.trainable_parameters,
    }
