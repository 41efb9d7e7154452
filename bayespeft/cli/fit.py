"""`bayespeft fit`: a posterior, fitted and saved."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer
from rich.table import Table

import bayespeft
from bayespeft.cli import options as opt
from bayespeft.cli import parsing
from bayespeft.cli.shown import show
from bayespeft.errors import ConfigError
from bayespeft.io.checkpoint import check_place, holds_posterior
from bayespeft.task import Task


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
    class_weight: opt.ClassWeights = None,
    targets: opt.TargetNames = None,
    layers: opt.Layers = None,
    exclude: opt.Exclude = None,
    task: opt.NetworkTask = None,
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
    settings = parsing.train(epochs=epochs, steps=steps, lr=lr, batch_size=batch_size, kl_weight=kl_weight)
    where = parsing.targets(targets, layers, exclude)
    here = Task(
        model=model,
        data=data,
        data_dir=data_dir,
        data_options=parsing.data_options(data_option),
        columns=parsing.columns(columns),
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
        class_weight=parsing.class_weight(class_weight),
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
    show(table)
    if posterior.likelihood.objective:
        typer.echo(f"Objective: {posterior.likelihood.objective}")
    if posterior.history.ended is not None:
        heat = "" if posterior.temperature == 1 else f"; logits are divided by {posterior.temperature:.2f}"
        typer.echo(f"Training {posterior.history.ended}{heat}")
    typer.echo(f"The posterior is in {out}")
