"""What `bayespeft compare` was asked for: a study from names or from a file, with the options over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bayespeft.cli import options as opt
from bayespeft.cli import parsing
from bayespeft.compare import Execution, Study, read_study
from bayespeft.errors import ConfigError

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL DATA... | FILE.toml",
        help="A network and one or several data sets, as for `fit`; or a file, over which options go. "
        "`pydoc bayespeft.compare.file` says what it may hold.",
        show_default=False,
    ),
]
Methods = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="See `bayespeft methods`; mle,melora by default. With a file: some of its methods, or others.",
        rich_help_panel=opt.TRAINING,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(metavar="0,1,2", help="Of rows, head, order and noise; 0 by default.", rich_help_panel=opt.TRAINING),
]
TestLimit = Annotated[
    int | None, typer.Option(min=1, help="Test on so many rows, after a shuffle.", rich_help_panel=opt.DATA)
]
Draws = Annotated[
    Any,
    typer.Option(
        parser=parsing.draws,
        metavar="N|auto",
        help="Posterior draws to average, 10 by default; 0 predicts with the mean, auto goes on until their error is small.",
        rich_help_panel=opt.OUTPUT,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Where to write; a file may say it.", rich_help_panel=opt.OUTPUT, show_default=False
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="auto (all GPUs), cpu, cuda, cuda:1, ...", rich_help_panel=opt.NETWORK, show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Processes that make runs; one for each GPU by default, or one.", rich_help_panel=opt.OUTPUT
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="local|slurm|ray",
        help="Processes of this machine, a Slurm array or tasks of Ray, with the settings of the file's table run.slurm or "
        "run.ray.",
        rich_help_panel=opt.OUTPUT,
    ),
]
Tune = Annotated[
    str | None,
    typer.Option(
        metavar="0.5,1,2",
        help="Multiples of each method's own rates, of which held-out training rows choose one for each method and seed.",
        rich_help_panel=opt.TRAINING,
    ),
]
Again = Annotated[bool, typer.Option("--again", help="Do finished runs once more.", rich_help_panel=opt.OUTPUT)]


def study(names: Sequence[str], methods: str | None, seeds: str | None, **options: Any) -> tuple[Study, Execution]:
    """Return what is to be compared, and how.

    Args:
        names: of a network and data sets, or of a file.
        methods, seeds: lists with commas, or None.
        options: of `Study.over`.

    Raises:
        ConfigError, UnknownNameError: the names, the file or an option can't be used.
    """
    files = [name for name in names if name.lower().endswith(".toml")]
    if files and len(names) > 1:
        raise ConfigError(f"{files[0]} says what is compared: no other names are expected beside it.")
    if not files and len(names) < 2:
        raise ConfigError(f"{names[0]}: MODEL DATA... or FILE.toml is expected.")
    if files:
        found, execution = read_study(files[0])
    else:
        found, execution = Study.of(names[0], names[1:]), Execution()
    chosen = None if methods is None else parsing.names(methods)
    return found.over(methods=chosen, seeds=None if seeds is None else parsing.numbers(seeds), **options), execution


def execution(given: Execution, out: Path | None, **options: Any) -> Execution:
    """Return how runs are made, with the options that were given over what a file says.

    Raises:
        ConfigError: an option can't be used, or nobody says where to write.
    """
    changes = {name: value for name, value in options.items() if value is not None}
    found = given.replace(**changes, **({} if out is None else {"out": str(out)}))
    if found.out is None:
        raise ConfigError("--out is missing: the folder for results, tables and plots.")
    return found
