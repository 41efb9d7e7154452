"""`bayespeft evaluate`: a report on probabilities that stand in a file, whatever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bayespeft.cli import options as opt
from bayespeft.cli import parsing
from bayespeft.cli.written import Files
from bayespeft.data.columns import LABELS
from bayespeft.data.files import read_file
from bayespeft.errors import DataError
from bayespeft.predictive.evaluation import Evaluation
from bayespeft.predictive.evaluation import evaluate as evaluated

PREFIXES = {False: "prob_", True: "logit_"}


def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV, TSV, JSON lines or Parquet: a label and the classes' probabilities a row.",
            show_default=False,
        ),
    ],
    probs: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="The columns of probabilities, one for each class, as in a,b,c. By default those that begin with prob_ "
            "(or logit_, with --logits); what follows is the name of the class.",
            rich_help_panel=opt.DATA,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column of labels: names of classes, or numbers from 0 on in the order of the columns where no name is a "
            "number. By default label, labels or answer.",
            rich_help_panel=opt.DATA,
        ),
    ] = None,
    logits: Annotated[
        bool, typer.Option("--logits", help="The columns hold logits.", rich_help_panel=opt.DATA)
    ] = False,
    validation: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Other rows of the same form, on which a rule that abstains, and sets of classes, are fitted.",
            rich_help_panel=opt.DATA,
        ),
    ] = None,
    alpha: opt.Alpha = 0.1,
    risk: opt.Risk = 0.05,
    name: Annotated[str, typer.Option(help="A title.", rich_help_panel=opt.OUTPUT)] = "",
    html: opt.Html = None,
    json: opt.Json = None,
    csv: opt.Csv = None,
    plot: opt.Plot = None,
    figure: opt.Figures = None,
    quotes: opt.Quotes = 10,
    seed: Annotated[int, typer.Option(help="Of the intervals.", rich_help_panel=opt.OUTPUT)] = 0,
) -> None:
    """Say how good, and how calibrated, the probabilities in a file are, whatever predicted them."""
    files = Files(html, json, csv, plot, parsing.figures(figure))
    files.check()
    columns = None if probs is None else parsing.names(probs)
    found = read(file, columns, label, logits)
    files.write(found.report(name=name or file.name, quotes=quotes, seed=seed))
    if validation is not None:
        known = read(validation, columns, label, logits)
        typer.echo(str(known.conformal(alpha, seed=seed).report(found)))
        typer.echo(str(found.decide(known, risk, seed=seed)))


def read(path: Path, columns: Sequence[str] | None, label: str | None, logits: bool) -> Evaluation:
    """Read probabilities and labels of a file.

    Args:
        path: the file.
        columns: of probabilities; None: those whose names say so.
        label: the column of labels; None: by the usual names.
        logits: the columns hold logits.

    Raises:
        DataError: columns are missing, or a cell is no number; and as `bayespeft.evaluate`.
    """
    rows: list[dict[str, Any]] = list(read_file(path, [label] if label else []))
    have = tuple(rows[0])
    prefix = PREFIXES[logits]
    chosen = tuple(columns or (name for name in have if name.startswith(prefix)))
    gold = label or next((name for name in LABELS if name in have), "")
    missing = next((name for name in (*chosen, *([gold] if gold else [])) if name not in have), None)
    if missing is not None or not gold or not chosen:
        why = (
            f"there is no column {missing!r}"
            if missing is not None
            else "no column is named as labels are: pass --label"
            if chosen
            else f"no column begins with {prefix}: name the columns with --probs"
        )
        raise DataError(f"'{path}': {why}. It has {', '.join(map(repr, have))}.")
    values = [[_number(row, column, place, path) for column in chosen] for place, row in enumerate(rows)]
    names = tuple(name if columns else name[len(prefix) :] for name in chosen)
    texts = [{key: value for key, value in row.items() if key not in chosen} for row in rows]
    return evaluated(values, [row.get(gold) for row in rows], logits=logits, class_names=names, rows=texts)


def _number(row: dict[str, Any], column: str, place: int, path: Path) -> float:
    try:
        return float(row[column])
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"'{path}', row {place}: column {column!r} has {row.get(column)!r}, which is no number."
        ) from None
