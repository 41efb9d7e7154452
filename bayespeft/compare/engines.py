"""Runs in processes of this machine, one for each device.

A process makes one run at a time and appends it to the file of results itself. The numbers are those of a single process, on
the same device with the same number of threads.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import replace

import torch

from bayespeft.compare.results import Results
from bayespeft.compare.run import Failure, Worker
from bayespeft.compare.study import Job, Run
from bayespeft.errors import ConfigError

Finish = Callable[[Job, Run | Failure], None]

_worker: Worker | None = None


def devices(name: str, workers: int | None) -> list[str]:
    """Return the device of each worker: all GPUs for "auto", and otherwise `name`.

    Args:
        name: see `Task`.
        workers: how many; None is one for each GPU, or one.

    Raises:
        ConfigError: there can't be so many workers.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}: at least one makes the runs.")
    if name != "auto" or not torch.cuda.is_available():
        return [name] * (workers or 1)
    gpus = torch.cuda.device_count()
    return [f"cuda:{i % gpus}" for i in range(workers or gpus)]


def in_processes(jobs: Sequence[Job], results: Results | None, places: Sequence[str], finish: Finish) -> None:
    """Make the runs in as many processes as there are places.

    Args:
        jobs: what to do.
        results: where each process appends its runs.
        places: a device for each process. On a CPU they share this process's threads.
        finish: called with each job and what came of it, from several threads.
    """
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    threads = max(1, torch.get_num_threads() // len(places))
    with ThreadPoolExecutor(len(places)) as lanes:
        try:
            for lane in as_completed(
                [lanes.submit(_lane, place, threads, waiting, results, finish) for place in places]
            ):
                lane.result()
        finally:
            while _next(waiting) is not None:  # after an interrupt, nothing new is begun
                pass


def _lane(place: str, threads: int, waiting: queue.SimpleQueue[Job], results: Results | None, finish: Finish) -> None:
    """Feed one process. It is a pool of its own, so that a process that dies takes no run but its own with it."""
    pool: ProcessPoolExecutor | None = None
    # Not forked: neither CUDA nor OpenMP survives that.
    context = multiprocessing.get_context("spawn")
    while (job := _next(waiting)) is not None:
        pool = pool or ProcessPoolExecutor(1, context, torch.set_num_threads, (threads,))
        try:
            outcome = pool.submit(work, replace(job, device=place), results).result()
        except Exception as error:  # the process died, or the job could not be sent
            pool.shutdown()
            pool, outcome = None, Failure.of(job, error)
        finish(job, outcome)
    if pool is not None:
        pool.shutdown()


def work(job: Job, results: Results | None) -> Run | Failure:
    """Make a run in a process that others started."""
    global _worker
    if _worker is None:
        _worker = Worker(results, say=lambda line: None)
    return _worker.attempt(job)


def _next(waiting: queue.SimpleQueue[Job]) -> Job | None:
    try:
        return waiting.get_nowait()
    except queue.Empty:
        return None
