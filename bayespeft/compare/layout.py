"""A comparison as a grid of texts, whatever it is then written as: the cells, which of them are bold, and the caption."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bayespeft.compare.columns import Column, further, rates, rates_note
from bayespeft.compare.groups import Group
from bayespeft.compare.scores import columns, tested
from bayespeft.compare.significance import LEVEL
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.metric import UNKNOWN, Figure, value_of
from bayespeft.report.metrics.spec import MetricSpec


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, and whether it is bold."""

    text: str
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: texts as they are, which each format has to escape.

    Attributes:
        title: what is compared.
        header: of the columns; the first `labels` of them are words, the others numbers.
        labels: columns of words.
        blocks: rows that belong together, a data set's.
        caption: what the numbers mean, in sentences.
    """

    title: str
    header: tuple[str, ...]
    labels: int
    blocks: tuple[tuple[tuple[Cell, ...], ...], ...]
    caption: str


def grid(groups: Sequence[Group]) -> Grid:
    """Lay a comparison out: a block for each network and data set, a row for each method."""
    models, data = (list(dict.fromkeys(getattr(g, name) for g in groups)) for name in ("model", "label"))
    several = {"model": len(models) > 1, "data": len(data) > 1}
    labels = [*(name for name, shown in several.items() if shown), "method"]
    runs = [run for group in groups for run in group.all]
    others = further([CalibrationReport.from_dict(run["report"]) for run in runs])
    tuned = any(run.get("tuned") for run in runs)
    blocks = []
    for group in groups:
        where = [Cell(text) for text, shown in zip((group.model, group.label), several.values(), strict=True) if shown]
        best = {spec.name: v.best for spec in tested() if (v := group.verdict(spec.name)).significant}
        blocks.append(
            tuple(
                (*where, Cell(title), *_numbers(name, group.runs[name], best, others, tuned))
                for name, title in group.titles.items()
            )
        )
    return Grid(
        title=f"{_several(models, 'networks')} on {_several(data, 'data sets')}",
        header=(
            *labels,
            *(spec.heading for spec in columns()),
            *(column.heading for column in others),
            *(("rate", "search (s)") if tuned else ()),
            "fit (s)",
            "trainable",
        ),
        labels=len(labels),
        blocks=tuple(blocks),
        caption=_caption(groups, others),
    )


def _numbers(
    method: str,
    runs: Sequence[Mapping[str, Any]],
    best: Mapping[str, str | None],
    others: Sequence[Column],
    tuned: bool,
) -> list[Cell]:
    seconds = statistics.mean(run["history"]["seconds"] for run in runs)
    reports = [CalibrationReport.from_dict(run["report"]) for run in runs]
    return [
        *(
            Cell(_metric(spec, [report.metrics.get(spec.name) for report in reports]), best.get(spec.name) == method)
            for spec in columns()
        ),
        *(Cell(_metric(column, [column.figure(report) for report in reports])) for column in others),
        *(map(Cell, rates(runs)) if tuned else ()),
        Cell(f"{seconds:.0f}"),
        Cell(f"{runs[0]['report']['trainable_parameters']:,}"),
    ]


def _metric(spec: MetricSpec | Column, figures: Sequence[Figure]) -> str:
    """Return mean and standard deviation over seeds, or one seed's value with its interval; a dash where a run lacks it."""
    values = [value for figure in figures if (value := value_of(figure)) is not None]
    if len(values) < len(figures):
        return UNKNOWN
    if len(values) > 1:
        return " ± ".join(spec.cells(of(values))[0] for of in (statistics.mean, statistics.stdev))
    return " ".join(filter(None, spec.cells(figures[0])))


def _caption(groups: Sequence[Group], others: Sequence[Column]) -> str:
    runs = [run for group in groups for run in group.all]
    seeds = len({run["seed"] for run in runs})
    spread = "one seed [95 % interval]" if seeds == 1 else f"mean ± standard deviation over {seeds} seeds"
    parts = [f"{spread}, {runs[0]['settings']['draws']} draws", *(_facts(group, len(groups) > 1) for group in groups)]
    fewer = [
        f"{title} on {group.label}: {len(group.runs[name])} of {seeds} seeds"
        for group in groups
        for name, title in group.titles.items()
        if len(group.runs[name]) < seeds
    ]
    notes = [*(column.note for column in others), *rates_note(runs)]
    return ". ".join(_upper(part) for part in (*parts, *fewer, *_unlike(runs), *notes, *_test(groups, seeds))) + "."


def _facts(group: Group, named: bool) -> str:
    settings, report = group.all[0]["settings"], group.all[0]["report"]
    where = f"{group.model} on {group.label}: " if named else ""
    return (
        f"{where}{settings['examples']:,} training examples, {report['n']:,} test examples in "
        f"{report['classes']} classes"
    )


def _unlike(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in which software, and on which kinds of device, the runs of one table were made differently."""
    made = [{"device": run.get("device", "").partition(":")[0], **run.get("versions", {})} for run in runs]
    names = dict.fromkeys(name for one in made for name in one)
    found = {name: sorted({one.get(name) or "unknown" for one in made}) for name in names}
    unlike = [f"{name} {' and '.join(values)}" for name, values in found.items() if len(values) > 1]
    return [f"runs were made with different software or devices: {', '.join(unlike)}"] if unlike else []


def _test(groups: Sequence[Group], seeds: int) -> list[str]:
    several = [group for group in groups if len(group.titles) > 1]
    if not several:
        return []
    known = {spec.title: all(group.verdict(spec.name).best is not None for group in several) for spec in tested()}
    if not any(known.values()):
        return ["Not tested: runs lack scores of single examples"]
    lacking = [title for title, found in known.items() if not found]
    one = "a paired test over test examples, for this one seed (of accuracy McNemar's exact test, else a t-test),"
    over = one if seeds == 1 else "a paired test over seeds and test examples (Behrens-Fisher)"
    return [
        f"Bold: the best, where it differs from every other method by {over} with Holm's correction for all pairs, p < {LEVEL}",
        *(f"{spec.title} is not tested: {spec.untested}" for spec in columns() if spec not in tested()),
        *([f"Not tested where runs lack scores of single examples: {', '.join(lacking)}"] if lacking else []),
    ]


def _several(names: Sequence[str], what: str) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} {what}"


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
