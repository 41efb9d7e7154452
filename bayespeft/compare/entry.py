"""`compare` and `compare_study`: from names, or from a study, to a `Comparison`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bayespeft.compare.comparison import Comparison, write_failures
from bayespeft.compare.data_set import OtherData
from bayespeft.compare.engines import devices, in_processes, in_turn
from bayespeft.compare.file import Execution
from bayespeft.compare.ray import by_ray
from bayespeft.compare.results import Results
from bayespeft.compare.run import Failure, Worker
from bayespeft.compare.slurm import by_slurm
from bayespeft.compare.study import METHODS, Draws, Job, Run, Study, key
from bayespeft.compare.tuning import Tuning, as_tuning
from bayespeft.config import Targets, TrainConfig
from bayespeft.errors import BayesPeftError, ConfigError, RunError
from bayespeft.fitting.assemble import as_targets
from bayespeft.io.directory import check_writable
from bayespeft.methods.base import Method
from bayespeft.utils.checks import checked


@checked
def compare(
    model: str | Sequence[str],
    data: str | Sequence[str],
    methods: Sequence[str | Method] = METHODS,
    seeds: Sequence[int] = (0,),
    *,
    out: str | os.PathLike[str] | None = None,
    draws: Draws = 10,
    limit: int | None = None,
    test_limit: int | None = None,
    train: TrainConfig = TrainConfig(),
    targets: str | Sequence[str] | Targets | None = None,
    ood: Mapping[str, str | OtherData] | None = None,
    tune: Sequence[float] | Tuning | None = None,
    again: bool = False,
    progress: bool = True,
    workers: int | None = None,
    device: str = "auto",
    data_options: Mapping[str, Any] | None = None,
    **task: Any,
) -> Comparison:
    """Fit and evaluate each method with each seed on each data set.

    A seed decides the training rows (with a limit), the fresh head, and all of the fit and of the prediction. The test
    rows are the same for all. A method that fits a temperature holds a fifth of its training rows out for it.

    Args:
        model: a registered name, a local folder, or a name on the hub; or several.
        data: a built-in name, a folder with a file of rows for each split, or a name on the hub, with a test split; or several.
        methods: names, or `Method`s, whose names must differ.
        seeds: which seeds.
        out: a folder for results, tables and plots: see `Comparison.save`. None writes nothing.
        draws: posterior draws averaged in a prediction.
        limit: training rows; None for all.
        test_limit: test rows; None for all.
        train: settings that go over those of every method.
        targets: which layers, for every method; see `Targets`. What is left out is each method's own.
        ood: name -> other data, or its name: how well does uncertainty tell its test rows from those of every data set?
        tune: multiples of each method's own rates, such as (0.5, 1, 2), of which held-out training rows choose one for each
            method and seed: see `bayespeft.compare.tuning`. None takes the rates as they are.
        again: do runs that `out` holds already once more.
        progress: show on standard error how far it is.
        workers: processes that make runs; None is one for each GPU, or one. A script that asks for several has to
            protect its own start with `if __name__ == "__main__":`.
        device: see `Task`; "auto" uses all GPUs.
        data_options: the data sets' own options.
        task: data_dir, columns, kind, max_length: see `Task`.

    Raises:
        ConfigError, UnknownNameError, DataError, MissingPackageError: settings or data can't be used.
        RunError: every run failed. Where some did, they are the comparison's `failures`; the others are in `out`.
    """
    study = Study.of(model, data, methods).over(
        seeds=seeds, draws=draws, train=train, targets=as_targets(targets), options=data_options, limit=limit,
        test_limit=test_limit, ood=ood, tuning=as_tuning(tune), **task,
    )  # fmt: skip
    return compare_study(study, Execution(device=device, workers=workers), out=out, again=again, progress=progress)


@checked
def compare_study(
    study: Study,
    execution: Execution | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    again: bool = False,
    progress: bool = True,
) -> Comparison:
    """Make the runs of a study that are not there yet.

    Args:
        study: what is compared.
        execution: where and how; left out, in this process, or one for each GPU, and without a folder.
        out: a folder, in the place of the execution's.
        again, progress: see `compare`.

    Raises:
        As `compare`.
    """
    execution = execution or Execution()
    out = execution.out if out is None else out
    if out is not None:
        check_writable(out)
    results = None if out is None else Results(Path(out))
    console = Console(stderr=True, quiet=not progress, highlight=False, markup=False, soft_wrap=True)
    jobs = study.jobs(execution.device)
    known = {} if results is None else results.read()
    outcomes: dict[str, Run | Failure] = {}
    for job in jobs:
        if not again and key(job.plan) in known:
            console.print(f"{job.title}: done before, read from {out}")
            # Runs are shown under the names that data sets have in this study.
            outcomes[key(job.plan)] = known[key(job.plan)] | {"title": job.method.title, "data": job.label}
    todo = [job for job in jobs if key(job.plan) not in outcomes]

    def finish(job: Job, outcome: Run | Failure) -> None:
        outcomes[key(job.plan)] = outcome
        console.print(f"{job.title}: {_told(outcome)} [{len(outcomes)} of {len(jobs)}]")

    _make(todo, results, execution, console, progress, again, finish)
    # Jobs go by seed, so that methods can share a network; tables go by method.
    found = [outcomes[key(job.plan)] for job in sorted(jobs, key=_place(study))]
    runs = tuple(run for run in found if not isinstance(run, Failure))
    failures = tuple(failure for failure in found if isinstance(failure, Failure))
    if not runs:
        if out is not None:
            write_failures(Path(out), failures)
        first = failures[0]
        raise RunError(
            f"no run succeeded. The first of {len(failures)}: {first.title}: {first.error}"
        ) from BayesPeftError(first.details)
    comparison = Comparison(runs, failures)
    if out is not None:
        comparison.save(out)
    for failure in failures:
        console.print(f"failed: {failure.title}: {failure.error}")
    return comparison


def _make(
    jobs: Sequence[Job],
    results: Results | None,
    execution: Execution,
    console: Console,
    progress: bool,
    again: bool,
    finish: Any,
) -> None:
    if execution.engine != "local":
        if results is None:
            raise ConfigError(
                f"the engine '{execution.engine}' needs a folder for results, out=, that all its nodes see."
            )
        if execution.engine == "slurm":
            by_slurm(jobs, results, execution.slurm, finish)
        else:
            by_ray(jobs, results, execution.ray, finish)
        return
    places = devices(execution.device, execution.workers)[: max(len(jobs), 1)]
    if len(places) > 1:
        in_processes(jobs, results, places, finish, again)
        return
    in_turn(jobs, Worker(results, console.print, progress, again), finish)


def _place(study: Study) -> Callable[[Job], tuple[int, int, int]]:
    models, labels, names = list(study.models), list(study.data), [method.name for method in study.methods]
    return lambda job: (models.index(job.model), labels.index(job.label), names.index(job.method.name))


def _told(outcome: Run | Failure) -> str:
    if isinstance(outcome, Failure):
        return f"failed, {outcome.error}"
    report = outcome["report"]
    return f"accuracy {100 * report['accuracy']['value']:.1f} %, NLL {report['nll']['value']:.3f} nats"
