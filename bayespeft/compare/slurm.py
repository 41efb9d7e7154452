"""Runs as a Slurm array, through submitit, which writes the scripts, requeues what is preempted, and keeps the logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bayespeft.compare.engines import Finish, work_or_wait
from bayespeft.compare.results import Results
from bayespeft.compare.run import Failure
from bayespeft.compare.study import Job
from bayespeft.errors import ConfigError, MissingPackageError

POLL = 2.0  # seconds between looks at what is done
DAY = 24 * 60  # minutes


def by_slurm(jobs: Sequence[Job], results: Results, options: Mapping[str, Any], finish: Finish) -> None:
    """Submit the runs as one Slurm array through submitit, and wait for them. Without runs there is nothing to do.

    An array goes on where the process that waits for it ends; a comparison that is started again waits for the runs that are
    under way, if the file system's locks reach all nodes. Cancel it (`scancel`) first where they do not.

    Args:
        jobs: what to do.
        results: where each run is appended; on a file system that all nodes see. Logs are in its folder, in `slurm`.
        options: of `submitit.AutoExecutor.update_parameters`, such as slurm_partition, timeout_min, gpus_per_node,
            slurm_array_parallelism; and `cluster`, "slurm" if left out ("local" runs processes of this machine).
        finish: called with each job and what came of it.

    Raises:
        MissingPackageError: submitit is not installed. ConfigError: it can't use the options, or finds no Slurm.
    """
    if not jobs:
        return
    try:
        import submitit
    except ImportError as error:
        raise MissingPackageError("the engine 'slurm' needs submitit: pip install 'bayespeft[slurm]'.") from error
    settings = {"cluster": "slurm", "timeout_min": DAY, **options}
    try:
        executor = submitit.AutoExecutor(folder=results.folder / "slurm", cluster=settings.pop("cluster"))
        executor.update_parameters(**settings)
        with executor.batch():
            submitted = [executor.submit(work_or_wait, job, results) for job in jobs]
    except (RuntimeError, ValueError, TypeError, NameError, FileNotFoundError) as error:
        raise ConfigError(f"submitit can't use these settings of Slurm, {dict(options)}: {error}") from error
    jobs_of = {id(task): job for job, task in zip(jobs, submitted, strict=True)}
    for task in submitit.helpers.as_completed(submitted, poll_frequency=POLL):
        job = jobs_of[id(task)]
        try:
            outcome = task.result()
        except Exception as error:  # killed, or out of time
            outcome = Failure.of(job, error)
        finish(job, outcome)
