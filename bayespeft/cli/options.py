"""The options that several commands share, and how their texts become settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bayespeft.compare import Tuning
from bayespeft.config import Targets, TrainConfig
from bayespeft.errors import ConfigError

DATA, NETWORK, TRAINING, OUTPUT = "Data", "Network", "Training", "Output"

Kind = Literal["classification", "multi_label", "tokens", "causal"]

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A built-in name (minilm, smollm2), a local folder, or a name on the hub.",
        show_default=False,
    ),
]
DataName = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A built-in name (newsgroups, sst2, ...), a folder of files SPLIT.jsonl, or owner/name on the hub.",
        show_default=False,
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Read DIR/DATA/SPLIT.jsonl, one JSON object per line.", rich_help_panel=DATA),
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
TaskKind = Annotated[
    Kind | None,
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


def draws(text: str | int) -> int | str:
    """Return a number of draws, or "auto"."""
    if text == "auto":
        return "auto"
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise typer.BadParameter(f"{text!r} is neither a number from 0 on nor 'auto'.")
    return number


Draws = Annotated[
    Any,
    typer.Option(
        parser=draws,
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


def targets(names: str | None, layers: str | None) -> Targets:
    """Read `--targets` and `--layers`; a method supplies what is not given.

    Raises:
        ConfigError: the layers are not A-B.
    """
    given: dict[str, Any] = {}
    if names is not None:
        words = re.fullmatch(r"[\w.]+(,[\w.]+)*", names) and names not in ("auto", "all-linear")
        given["modules"] = names.split(",") if words else names
    if layers is not None:
        bounds = re.fullmatch(r"(\d+)(?:-(\d+))?", layers.strip())
        last = re.fullmatch(r"last-([1-9]\d*)", layers.strip())
        if last is not None:
            given["layers"] = (-int(last[1]), -1)
        elif bounds is not None:
            given["layers"] = (int(bounds[1]), int(bounds[2] or bounds[1]))
        else:
            raise ConfigError(
                f"layers is {layers!r}: one block, such as 7, a range, such as 4-11, or the last, such as last-3."
            )
    return Targets(**given)


def train(**settings: Any) -> TrainConfig:
    """Return the training settings that were given; a method supplies the others."""
    return TrainConfig(**{name: value for name, value in settings.items() if value is not None})


def data_options(texts: list[str] | None) -> dict[str, Any]:
    """Read `--data-option`: a value with commas is a list.

    Raises:
        ConfigError: one is not NAME=VALUE.
    """
    found = _pairs(texts, "data option", "NAME=VALUE is expected, such as groups=sci.med,sci.space")
    return {name: value.split(",") if "," in value else value for name, value in found}


def columns(text: str | None) -> dict[str, str]:
    """Read `--columns`: our name of a column -> the data's.

    Raises:
        ConfigError: one is not OURS=THEIRS, or two are of one name.
    """
    return _once(_pairs(names(text or ""), "columns", "OURS=THEIRS is expected, such as text=sentence"), "column")


def other_data(texts: list[str] | None) -> dict[str, str]:
    """Read `--ood`: title -> name of the data.

    Raises:
        ConfigError: one is not NAME=DATA, or two have one name.
    """
    return _once(_pairs(texts, "other data", "NAME=DATA is expected, such as news=newsgroups"), "other data")


def figures(texts: list[str] | None) -> list[tuple[str, Path]]:
    """Read `--figure`: the name of a figure, and its file.

    Raises:
        ConfigError: one is not NAME=FILE.svg.
    """
    expected = "NAME=FILE.svg is expected: figures of the page are SVG, other formats have only what --plot writes"
    found = _pairs(texts, "figure", expected)
    for name, file in found:
        if Path(file).suffix.lower() != ".svg":
            raise ConfigError(f"figure {f'{name}={file}'!r}: {expected}.")
    return [(name, Path(file)) for name, file in found]


def _once(pairs: list[tuple[str, str]], what: str) -> dict[str, str]:
    titles = [name for name, _ in pairs]
    twice = next((name for name in titles if titles.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{what} {twice!r} is named twice: give each a name of its own.")
    return dict(pairs)


def _pairs(texts: list[str] | None, what: str, expected: str) -> list[tuple[str, str]]:
    found = []
    for text in texts or ():
        name, _, value = text.partition("=")
        if not name or not value:
            raise ConfigError(f"{what} {text!r}: {expected}.")
        found.append((name, value))
    return found


def names(text: str) -> list[str]:
    """Read a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def multiples(text: str | None) -> Tuning | None:
    """Read `--tune`: positive numbers with commas.

    Raises:
        ConfigError: a part is no positive number, or one stands there twice.
    """
    if text is None:
        return None
    try:
        found = [float(part) for part in names(text)]
    except ValueError:
        raise ConfigError(f"{text!r}: numbers with commas between are expected, such as 0.5,1,2.") from None
    return Tuning(multiples=tuple(found))


def numbers(text: str) -> list[int]:
    """Read a list of whole numbers with commas.

    Raises:
        ConfigError: a part is no whole number.
    """
    try:
        return [int(part) for part in names(text)]
    except ValueError:
        raise ConfigError(f"{text!r}: whole numbers with commas between are expected, such as 0,1,2.") from None
