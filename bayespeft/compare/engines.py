"""Runs in processes of this machine, one for each device.

A process makes one run at a time and appends it to the file of results itself. The numbers are those of a single process, on
the same device with the same number of threads.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import NoReturn

import torch

from bayespeft.compare.results import Results
from bayespeft.compare.run import Failure, Worker
from bayespeft.compare.study import Job, Run
from bayespeft.errors import ConfigError

POLL = 1.0  # seconds between looks at what other processes are making

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


def in_processes(
    jobs: Sequence[Job], results: Results | None, places: Sequence[str], finish: Finish, again: bool = False
) -> None:
    """Make the runs in as many processes as there are places. SIGTERM goes on to each, so that it writes its state.

    Args:
        jobs: what to do.
        results: where each process appends its runs.
        places: a device for each process. On a CPU they share this process's threads.
        finish: called with each job and what came of it, from several threads.
        again: see `Worker`.
    """
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    threads = max(1, torch.get_num_threads() // len(places))
    with _passed_on(), ThreadPoolExecutor(len(places)) as lanes:
        try:
            for lane in as_completed(
                [lanes.submit(_lane, place, threads, waiting, results, finish, again) for place in places]
            ):
                lane.result()
        finally:
            while _next(waiting) is not None:  # after an interrupt, nothing new is begun
                pass


@contextmanager
def _passed_on() -> Iterator[None]:
    """Tell the processes, too, when this one is asked to end; who asks by Ctrl-C asks all of them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def tell(number: int, frame: FrameType | None) -> NoReturn:
        for child in multiprocessing.active_children():
            child.terminate()
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _lane(
    place: str,
    threads: int,
    waiting: queue.SimpleQueue[Job],
    results: Results | None,
    finish: Finish,
    again: bool,
) -> None:
    """Feed one process. It is a pool of its own, so that a process that dies takes no run but its own with it."""
    pool: ProcessPoolExecutor | None = None
    # Not forked: neither CUDA nor OpenMP survives that.
    context = multiprocessing.get_context("spawn")
    try:
        while (job := _next(waiting)) is not None:
            pool = pool or ProcessPoolExecutor(1, context, torch.set_num_threads, (threads,))
            outcome: Run | Failure | None
            try:
                outcome = pool.submit(work, replace(job, device=place), results, again).result()
            except Exception as error:  # the process died, or the job could not be sent
                pool.shutdown()
                pool, outcome = None, Failure.of(job, error)
            if outcome is None:
                waiting.put(job)
                time.sleep(POLL)
            else:
                finish(job, outcome)
    finally:
        if pool is not None:
            pool.shutdown()


def in_turn(jobs: Sequence[Job], worker: Worker, finish: Finish) -> None:
    """Make the runs one after the other, those last that another process is making."""
    waiting, taken, told = deque(jobs), 0, 0
    while waiting:
        job = waiting.popleft()
        outcome = worker.attempt(job)
        if outcome is not None:
            finish(job, outcome)
            taken = 0
            continue
        waiting.append(job)
        taken += 1
        if taken >= len(waiting):
            if told != taken:
                worker.say(f"waiting for {taken} that another process is making")
            taken, told = 0, taken
            time.sleep(POLL)


def work(job: Job, results: Results | None, again: bool = False) -> Run | Failure | None:
    """Make a run in a process that others started; None while yet another one makes it."""
    global _worker
    if _worker is None:
        _worker = Worker(results, say=lambda line: None, again=again)
    return _worker.attempt(job)


def work_or_wait(job: Job, results: Results | None) -> Run | Failure:
    """As `work`, and wait where another process makes the run."""
    while (outcome := work(job, results)) is None:
        time.sleep(POLL)
    return outcome


def _next(waiting: queue.SimpleQueue[Job]) -> Job | None:
    try:
        return waiting.get_nowait()
    except queue.Empty:
        return None
