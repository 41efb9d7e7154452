"""`bayespeft compare`: methods x data sets x seeds, fitted and evaluated."""

from __future__ import annotations

import typer

from bayespeft.cli import options as opt
from bayespeft.cli import parsing
from bayespeft.cli import study as what
from bayespeft.cli.shown import show
from bayespeft.compare import compare_study


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
    class_weight: opt.ClassWeights = None,
    targets: opt.TargetNames = None,
    layers: opt.Layers = None,
    exclude: opt.Exclude = None,
    task: opt.NetworkTask = None,
    device: what.Device = None,
    data_dir: opt.DataDir = None,
    data_option: opt.DataOption = None,
    columns: opt.ColumnNames = None,
    limit: opt.Limit = None,
    test_limit: what.TestLimit = None,
    max_length: opt.MaxLength = None,
    draws: what.Draws = None,
    prior_correction: opt.PriorCorrection = False,
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
        train=parsing.train(epochs=epochs, steps=steps, lr=lr, batch_size=batch_size, kl_weight=kl_weight),
        targets=parsing.targets(targets, layers, exclude),
        options=parsing.data_options(data_option),
        columns=parsing.columns(columns) or None,
        kind=task,
        data_dir=data_dir,
        class_weight=parsing.class_weight(class_weight),
        prior_correction=prior_correction or None,
        max_length=max_length,
        limit=limit,
        test_limit=test_limit,
        ood=parsing.other_data(ood) or None,
        tuning=parsing.multiples(tune),
    )
    execution = what.execution(execution, out, device=device, workers=workers, engine=engine)
    assert execution.out is not None
    comparison = compare_study(study, execution, again=again)
    show(comparison.table())
    for headline in comparison.headlines:
        typer.echo(headline)
    for title, paths in comparison.files(execution.out).items():
        for path in paths:
            typer.echo(f"{title}: {path}")
    if comparison.failures:
        raise typer.Exit(1)
