"""The command line `bayespeft`: its commands, each of more than a few lines in a file of its own, and its errors."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

import bayespeft
from bayespeft.cli import options as opt
from bayespeft.cli import plan as planning
from bayespeft.cli.compare import compare
from bayespeft.cli.doctor import look
from bayespeft.cli.evaluate import evaluate
from bayespeft.cli.fit import fit
from bayespeft.cli.predict import predict
from bayespeft.cli.report import report
from bayespeft.cli.shown import show
from bayespeft.errors import BayesPeftError
from bayespeft.utils.visible import visible


class _Group(TyperGroup):
    """Prints this package's errors as one line, and ends as interrupts ask; other exceptions keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BayesPeftError as error:
            if ctx.params.get("debug"):
                raise
            typer.echo(f"bayespeft: {visible(' '.join(str(error).split()))}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            if ctx.params.get("debug"):
                raise
            # The code by which a shell knows that Ctrl-C ended a command.
            raise typer.Exit(128 + signal.SIGINT) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bayespeft {bayespeft.__version__}")
        raise typer.Exit


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Bayesian adapters: fine-tune a few parameters, and get probabilities that can be believed."""


for command in (fit, report, evaluate, predict, compare):
    app.command()(command)


@app.command()
def methods() -> None:
    """List the methods: what is learned, how it is uncertain, where it is from."""
    show(bayespeft.methods().table())


@app.command()
def doctor(
    data_dir: opt.DataDir = None,
    plan: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Count what a fit on MODEL will cost, before it is loaded.")
    ] = None,
    method: Annotated[str, typer.Option(help="With --plan: the method.")] = "melora",
    batch: Annotated[int, typer.Option(min=1, help="With --plan: examples of a step.")] = 8,
    length: Annotated[int, typer.Option(min=1, help="With --plan: tokens of each.")] = 512,
    dtype: Annotated[str, typer.Option(help="With --plan: precision of the network.")] = "float32",
) -> None:
    """Show what is installed, and which devices, models and data sets are found. Nothing is downloaded.

    With --plan: what a training step takes in operations and bytes, counted from the network's configuration alone.
    """
    if plan is not None:
        found = planning.plan(plan, method, batch, length, dtype)
        table = Table(
            title=f"{plan}, {method}, {batch} x {length} tokens, {dtype}", title_justify="left", show_header=False, box=None,
            padding=(0, 2, 0, 1),
        )  # fmt: skip
        for part in planning.lines(found):
            table.add_row(*part)
        show(table)
        return
    for title, lines in look(data_dir):
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 1))
        for line in lines:
            table.add_row(*line)
        show(table)
