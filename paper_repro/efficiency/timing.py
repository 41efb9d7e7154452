"""Alternating runs, so that drift of the machine's speed cancels in the ratios of the medians."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping

import torch


def timed(run: Callable[[], object], device: str) -> float:
    """Return the seconds of one run, to the end of what it started on the device.

    On a CPU with one thread these are CPU seconds: what else the machine does then counts as little as it can.
    """
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def medians(
    runs: Mapping[str, Callable[[], object]], repeats: int, device: str, warm_up: int = 3, seconds: float = float("inf")
) -> dict[str, float]:
    """Return the median seconds of each run; they take turns, without the garbage collector.

    Args:
        runs: by name.
        repeats: rounds that count.
        device: "cpu" or "cuda".
        warm_up: rounds before these.
        seconds: no further round begins after so many.
    """
    for _ in range(warm_up):
        for run in runs.values():
            run()
    end = time.perf_counter() + seconds
    rounds: list[dict[str, float]] = []
    gc.collect()
    gc.disable()
    try:
        while len(rounds) < repeats and (not rounds or time.perf_counter() < end):
            rounds.append({name: timed(run, device) for name, run in runs.items()})
    finally:
        gc.enable()
    return {name: statistics.median(row[name] for row in rounds) for name in runs}
