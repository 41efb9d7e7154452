"""Runs as tasks of a Ray cluster, which places them on its nodes and gives each its GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bayespeft.compare.engines import Finish, work_or_wait
from bayespeft.compare.results import Results
from bayespeft.compare.run import Failure
from bayespeft.compare.study import Job
from bayespeft.errors import ConfigError, MissingPackageError


def by_ray(jobs: Sequence[Job], results: Results, options: Mapping[str, Any], finish: Finish) -> None:
    """Make each run as a task of Ray, and wait for all. Without runs there is nothing to do.

    The cluster is the one that this process is connected to already; else that of `address`; else one of this machine, which
    ends with the comparison.

    Args:
        jobs: what to do.
        results: where each run is appended; on a file system that all nodes see.
        options: of `ray.remote` for each run, such as num_gpus, num_cpus (1 if left out) and max_retries; and `address`, that
            of a cluster.
        finish: called with each job and what came of it.

    Raises:
        MissingPackageError: Ray is not installed. ConfigError: it can't use the options, or reach the cluster.
    """
    if not jobs:
        return
    try:
        import ray
    except ImportError as error:
        raise MissingPackageError("the engine 'ray' needs Ray: pip install 'bayespeft[ray]'.") from error
    settings = {"num_cpus": 1, **options}
    address, own = settings.pop("address", None), not ray.is_initialized()
    try:
        task = ray.remote(**settings)(work_or_wait)
        if own:
            ray.init(address=address, log_to_driver=False)
    except (RuntimeError, ValueError, TypeError, ConnectionError) as error:
        raise ConfigError(f"Ray can't use these settings, {dict(options)}: {error}") from error
    try:
        waiting = {task.remote(job, results): job for job in jobs}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(done)
            try:
                outcome = ray.get(done)
            except Exception as error:  # the worker died, or its node
                outcome = Failure.of(job, error)
            finish(job, outcome)
    finally:
        if own:
            ray.shutdown()
