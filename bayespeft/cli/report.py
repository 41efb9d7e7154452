"""`bayespeft report`: how good, and how calibrated, a saved posterior is."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from bayespeft.cli import options as opt
from bayespeft.cli import parsing
from bayespeft.cli.written import Files
from bayespeft.data.load import load as load_rows
from bayespeft.fitting.from_pretrained import from_pretrained


def report(
    directory: opt.SavedPosterior,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] DATA",
            help="As for `fit`. Without MODEL, the network that the posterior was fitted on is loaded.",
            show_default=False,
        ),
    ],
    split: Annotated[str, typer.Option(help="Which rows.", rich_help_panel=opt.DATA)] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use so many rows, after a shuffle.", rich_help_panel=opt.DATA)
    ] = None,
    data_dir: opt.DataDir = None,
    data_option: opt.DataOption = None,
    columns: opt.ColumnNames = None,
    draws: opt.Draws = "10",
    sampling: opt.Sampling = "plain",
    prediction: opt.Prediction = None,
    prior_correction: opt.PriorCorrection = False,
    batch_size: opt.PassSize = 32,
    ood: opt.Ood = None,
    draws_error: opt.DrawsError = False,
    seed: Annotated[int, typer.Option(help="Of draws and intervals.", rich_help_panel=opt.OUTPUT)] = 0,
    html: opt.Html = None,
    json: opt.Json = None,
    csv: opt.Csv = None,
    plot: opt.Plot = None,
    figure: opt.Figures = None,
    quotes: opt.Quotes = 10,
    device: opt.Device = "auto",
) -> None:
    """Say how good, and how calibrated, the predictions of a saved posterior are."""
    model, data = parsing.model_and_data(names, "DATA")
    said = parsing.columns(columns)
    files = Files(html, json, csv, plot, parsing.figures(figure))
    files.check()
    posterior = from_pretrained(directory, model, device=device)
    posterior = posterior.with_prior_correction() if prior_correction else posterior
    named = {**posterior.columns, **said}
    read = partial(load_rows, split=split, data_dir=data_dir, limit=limit, seed=seed, columns=named)
    rows = read(data, **parsing.data_options(data_option))
    others = {title: read(name) for title, name in parsing.other_data(ood).items()}
    result = posterior.report(
        rows,
        draws,
        seed,
        sampling=sampling,
        prediction=prediction,
        name=f"{data} {split}",
        batch_size=batch_size,
        ood=others,
        draws_error=draws_error,
        quotes=quotes,
        columns=said or None,
    )
    files.write(result)
