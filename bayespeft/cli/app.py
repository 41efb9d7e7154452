"""The command line `bayespeft`: its commands, and how its errors are shown."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import bayespeft
from bayespeft.cli.compare import compare
from bayespeft.cli.doctor import doctor
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


for command in (fit, report, evaluate, predict, compare, doctor):
    app.command()(command)


@app.command()
def methods() -> None:
    """List the methods: what is learned, how it is uncertain, where it is from."""
    show(bayespeft.methods().table())
