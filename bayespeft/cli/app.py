"""The command line `bayespeft`: arguments to calls. What the commands do is in `api`, `compare` and `commands`."""

from __future__ import annotations

import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

import bayespeft
from bayespeft.cli import options as opt
from bayespeft.cli import study as what
from bayespeft.cli.doctor import look
from bayespeft.cli.evaluate import evaluate
from bayespeft.cli.predict import predict
from bayespeft.cli.written import Files
from bayespeft.compare import compare_study
from bayespeft.data.load import load as load_rows
from bayespeft.errors import BayesPeftError, ConfigError
from bayespeft.fitting.from_pretrained import from_pretrained
from bayespeft.io.checkpoint import check_place, holds_posterior
from bayespeft.task import Task
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


@app.command()
def fit(
    model: opt.ModelName,
    data: opt.DataName,
    out: opt.Out,
    method: Annotated[str, typer.Option(help="See `bayespeft methods`.", rich_help_panel=opt.TRAINING)] = "melora",
    seed: Annotated[int, typer.Option(help="Of rows, head, order and noise.", rich_help_panel=opt.TRAINING)] = 0,
    epochs: opt.Epochs = None,
    steps: opt.Steps = None,
    lr: opt.LearningRate = None,
    batch_size: opt.BatchSize = None,
    kl_weight: opt.KlWeight = None,
    targets: opt.TargetNames = None,
    layers: opt.Layers = None,
    task: opt.TaskKind = None,
    device: opt.Device = "auto",
    data_dir: opt.DataDir = None,
    data_option: opt.DataOption = None,
    columns: opt.ColumnNames = None,
    limit: opt.Limit = None,
    max_length: opt.MaxLength = None,
    validation_split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Evaluate on it, and let it decide how long.", rich_help_panel=opt.DATA),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the posterior in DIR.", rich_help_panel=opt.OUTPUT)
    ] = False,
) -> None:
    """Fit a posterior over a few parameters of MODEL to DATA, and save it.

    Ctrl-C finishes the step: the same command goes on from there, as it does after a crash.
    The state of the training is in DIR.training until the posterior is in DIR.
    """
    check_place(out)
    if not overwrite and holds_posterior(out):
        raise ConfigError(f"'{out}' holds a posterior already: choose another --out, or replace it with --overwrite.")
    chosen = bayespeft.methods()[method]
    settings = opt.train(epochs=epochs, steps=steps, lr=lr, batch_size=batch_size, kl_weight=kl_weight)
    where = opt.targets(targets, layers)
    here = Task(
        model=model,
        data=data,
        data_dir=data_dir,
        data_options=opt.data_options(data_option),
        columns=opt.columns(columns),
        kind=task,
        max_length=max_length,
        device=device,
    )
    rows = here.source("train", limit=limit, seed=seed)
    validation = None if validation_split is None else here.source(validation_split)
    network, tokenizer = here.network(seed)
    states = out.with_name(f"{out.name}.training") if chosen.guide.resumable else None
    posterior = bayespeft.fit(
        network,
        rows,
        chosen,
        tokenizer=tokenizer,
        likelihood=here.likelihood(),
        targets=where,
        train=settings,
        validation=validation,
        seed=seed,
        checkpoint=states,
    )
    posterior.save(out)
    if states is not None:
        shutil.rmtree(states, ignore_errors=True)
    last = posterior.history.records[-1]
    table = Table("method", "examples", "NLL (nats)", "KL (nats)", "time (s)", "trainable")
    table.add_row(
        posterior.method.title,
        f"{rows.count:,}",
        f"{last.nll:.3f}",
        last.kl_text if posterior.method.guide.variational else "-",
        f"{posterior.history.seconds:.0f}",
        f"{posterior.joint_guide.trainable():,}",
    )
    _print(table)
    if posterior.history.ended is not None:
        heat = "" if posterior.temperature == 1 else f"; logits are divided by {posterior.temperature:.2f}"
        typer.echo(f"Training {posterior.history.ended}{heat}")
    typer.echo(f"The posterior is in {out}")


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where `fit` saved it.", show_default=False)],
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
    if len(names) > 2:
        raise typer.BadParameter(f"{len(names)} names after DIR: [MODEL] DATA are expected.")
    model, data = (names[0] if len(names) == 2 else None), names[-1]
    said = opt.columns(columns)
    files = Files(html, json, csv, plot, opt.figures(figure))
    files.check()
    posterior = from_pretrained(directory, model, device=device)
    named = {**posterior.columns, **said}
    read = partial(load_rows, split=split, data_dir=data_dir, limit=limit, seed=seed, columns=named)
    rows = read(data, **opt.data_options(data_option))
    others = {title: read(name) for title, name in opt.other_data(ood).items()}
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


app.command()(evaluate)
app.command()(predict)


@app.command()
def compare(
    names: what.Names,
    out: what.Out = None,
    methods: what.Methods = None,
    seeds: what.Seeds = None,
    epochs: opt.Epochs = None,
    steps: opt.Steps = None,
    lr: opt.LearningRate = None,
    batch_size: opt.BatchSize = None,
    kl_weight: opt.KlWeight = None,
    targets: opt.TargetNames = None,
    layers: opt.Layers = None,
    task: opt.TaskKind = None,
    device: what.Device = None,
    data_dir: opt.DataDir = None,
    data_option: opt.DataOption = None,
    columns: opt.ColumnNames = None,
    limit: opt.Limit = None,
    test_limit: what.TestLimit = None,
    max_length: opt.MaxLength = None,
    draws: what.Draws = None,
    ood: opt.Ood = None,
    tune: what.Tune = None,
    workers: what.Workers = None,
    engine: what.Engine = None,
    again: what.Again = False,
) -> None:
    """Fit and evaluate methods x data sets x seeds: results, a table with paired tests, plots.

    Each run is appended to DIR/results.jsonl when it is done, and is not repeated: a killed comparison goes on when it
    is started again, in the middle of the fit that it was at. Several that write into one DIR share the work.
    The table is in DIR/table.md, .tex and .html; the best figure of a column is bold
    where a paired test over seeds and test examples tells it from all the others.
    """
    study, execution = what.study(
        names,
        methods,
        seeds,
        draws=draws,
        train=opt.train(epochs=epochs, steps=steps, lr=lr, batch_size=batch_size, kl_weight=kl_weight),
        targets=opt.targets(targets, layers),
        options=opt.data_options(data_option),
        columns=opt.columns(columns) or None,
        kind=task,
        data_dir=data_dir,
        max_length=max_length,
        limit=limit,
        test_limit=test_limit,
        ood=opt.other_data(ood) or None,
        tuning=opt.multiples(tune),
    )
    execution = what.execution(execution, out, device=device, workers=workers, engine=engine)
    assert execution.out is not None
    comparison = compare_study(study, execution, again=again)
    _print(comparison.table())
    for headline in comparison.headlines:
        typer.echo(headline)
    for title, paths in comparison.files(execution.out).items():
        for path in paths:
            typer.echo(f"{title}: {path}")
    if comparison.failures:
        raise typer.Exit(1)


@app.command()
def methods() -> None:
    """List the methods: what is learned, how it is uncertain, where it is from."""
    _print(bayespeft.methods().table())


@app.command()
def doctor(data_dir: opt.DataDir = None) -> None:
    """Show what is installed, and which devices, models and data sets are found. Nothing is downloaded."""
    for title, lines in look(data_dir):
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 1))
        for line in lines:
            table.add_row(*line)
        _print(table)


def _print(table: Table) -> None:
    console = Console()
    # What is written into a file or a log has no window that it must fit into.
    Console(width=None if console.is_terminal else 150, markup=False).print(table)
