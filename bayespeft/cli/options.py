"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bayespeft.cli import parsing
from bayespeft.pretrained.load import TaskKind

DATA, NETWORK, TRAINING, OUTPUT = "Data", "Network", "Training", "Output"

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A built-in name (minilm, smollm2), a local folder, or a name on the hub.",
        show_default=False,
    ),
]
SavedPosterior = Annotated[Path, typer.Argument(metavar="DIR", help="Where `fit` saved it.", show_default=False)]
DataName = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A built-in name (newsgroups, sst2, ...), a file of rows (JSON lines, CSV, TSV or Parquet), a folder with one for "
        "each split, as SPLIT.jsonl, or owner/name on the hub.",
        show_default=False,
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Read DATA here: DIR/DATA/SPLIT.jsonl, or another ending.", rich_help_panel=DATA),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE", help="An option of the data set, such as groups=sci.med,sci.space.", rich_help_panel=DATA
    ),
]
ColumnNames = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="OURS=THEIRS,...",
        help="Which column of the data is which, such as text=sentence,label=gold. The usual names are understood.",
        rich_help_panel=DATA,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Train on so many rows, after a shuffle by the seed.", rich_help_panel=DATA),
]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Cut inputs to so many tokens.", rich_help_panel=DATA)]
NetworkTask = Annotated[
    TaskKind | None,
    typer.Option(
        help="Classify texts (by one label or several) or their words, or answer with a causal language model. "
        "By default the data's columns say which.",
        rich_help_panel=NETWORK,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...", rich_help_panel=NETWORK)]
TargetNames = Annotated[
    str | None,
    typer.Option(
        metavar="LAYERS",
        help="Layers to adapt: auto (query and value), all-linear, names as in q_proj,v_proj, or a regular expression. "
        "By default as the method says.",
        rich_help_panel=NETWORK,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LAYERS",
        help="Leave these out of the targets: names as in lm_head,o_proj, or a regular expression. May be given several times.",
        rich_help_panel=NETWORK,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        metavar="A-B",
        help="Only blocks A to B, both included, counted from 0; or the last, such as last-3.",
        rich_help_panel=NETWORK,
    ),
]
Epochs = Annotated[float | None, typer.Option(help="Passes over the data.", rich_help_panel=TRAINING)]
Steps = Annotated[int | None, typer.Option(help="Optimiser steps, instead of epochs.", rich_help_panel=TRAINING)]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.", rich_help_panel=TRAINING)]
BatchSize = Annotated[int | None, typer.Option(help="Examples per step.", rich_help_panel=TRAINING)]
KlWeight = Annotated[float | None, typer.Option(help="Weight of the prior; 1 is the ELBO.", rich_help_panel=TRAINING)]
ClassWeights = Annotated[
    str | None,
    typer.Option(
        "--class-weight",
        metavar="CLASS=WEIGHT,...|balanced",
        help="What each row counts in the objective, by its class, such as spam=5,ham=1. Probabilities are then those of the "
        "reweighed population.",
        rich_help_panel=TRAINING,
    ),
]
PriorCorrection = Annotated[
    bool,
    typer.Option(
        "--prior-correction",
        help="Predict with the training data's own frequencies of classes, where --class-weight made them others.",
        rich_help_panel=OUTPUT,
    ),
]

Draws = Annotated[
    Any,
    typer.Option(
        parser=parsing.draws,
        metavar="N|auto",
        help="Posterior draws to average; 0 predicts with the mean, auto goes on until their error is small.",
        rich_help_panel=OUTPUT,
    ),
]
Sampling = Annotated[
    Any,
    typer.Option(parser=str, metavar="KIND", help="plain, antithetic or sobol draws.", rich_help_panel=OUTPUT),
]
Prediction = Annotated[
    Any,
    typer.Option(
        parser=str,
        metavar="KIND",
        help="sampled or linearised; by default as the method says.",
        rich_help_panel=OUTPUT,
    ),
]
Quotes = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="Quote so many of the worst mistakes, and of the least certain rows, in the page and the JSON; "
        "0 keeps the data's rows out.",
        rich_help_panel=OUTPUT,
    ),
]
PassSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Examples per pass of the network.", rich_help_panel=OUTPUT)
]
Ood = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=DATA",
        help="How does uncertainty tell these rows, of the same split, from DATA's? May be given several times.",
        rich_help_panel=OUTPUT,
    ),
]
DrawsError = Annotated[
    bool,
    typer.Option(
        "--draws-error",
        help="Add the Monte Carlo error of figures over draws, and figures by number of draws.",
        rich_help_panel=OUTPUT,
    ),
]
Figures = Annotated[
    list[str] | None,
    typer.Option(
        "--figure",
        metavar="NAME=FILE.svg",
        help="Write one figure of the page here, such as risk_coverage=curve.svg. May be given several times.",
        rich_help_panel=OUTPUT,
    ),
]
Alpha = Annotated[
    float, typer.Option(help="The probability that a set of classes misses the label, at most.", rich_help_panel=OUTPUT)
]
Risk = Annotated[
    float,
    typer.Option(help="The largest error rate among answers that are not abstained from.", rich_help_panel=OUTPUT),
]
Html = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write one page with pictures and rows here.", rich_help_panel=OUTPUT),
]
Json = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write everything as JSON here.", rich_help_panel=OUTPUT)
]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the numbers here.", rich_help_panel=OUTPUT)]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the plot here: .png, .svg or .pdf.", rich_help_panel=OUTPUT),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where to write.", rich_help_panel=OUTPUT, show_default=False)]
