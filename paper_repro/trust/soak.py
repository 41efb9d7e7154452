"""Many steps, predictions, fits and generations in one process: whether memory and open files stay where they are."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from typing import Any

import psutil

import bayespeft
from bayespeft import TrainConfig
from bayespeft.testing import networks

METHODS = ("melora", "blob", "swag", "laplace_lora", "tfb", "ensemble", "map", "mc_dropout")
PARTS = 10
# Bytes by which memory may grow after a tenth of the work: the allocator keeps some megabytes more or less; a leak of one small
# tensor a step would take more.
SLACK = 16 << 20


def soak(steps: int, predictions: int, fits: int, generations: int) -> list[dict[str, Any]]:
    """Return a record for each kind of work: how memory and descriptors went from a tenth of it to its end.

    Memory that only the first tenth takes (caches, the allocator's own) is no leak.
    """
    network, data = networks.mlp(), networks.xy()
    one: dict[str, Any] = {"targets": "all-linear", "progress": False}
    short = TrainConfig(steps=2, batch_size=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior = bayespeft.fit(network, data, "melora", train=short, **one)
        speaker = _speaker()

        def train(share: int) -> None:
            bayespeft.fit(network, data, "melora", train=TrainConfig(steps=max(1, share), batch_size=20), **one)

        def predict(share: int) -> None:
            for _ in range(share):
                posterior.predict(data, draws=4)

        def fit(share: int) -> None:
            for number in range(share):
                bayespeft.fit(network, data, METHODS[number % len(METHODS)], train=short, **one)

        def generate(share: int) -> None:
            for _ in range(share):
                speaker.generate([[5, 6]], draws=2, max_new_tokens=4)

        return [
            _flat("optimiser steps", steps, train),
            _flat("predictions", predictions, predict),
            _flat("fits", fits, fit),
            _flat("generations", generations, generate),
        ]


def flat(record: dict[str, Any]) -> bool:
    """Whether memory, descriptors and objects stayed where they were."""
    return record["grown"] < SLACK and record["descriptors"] <= 0 and record["objects"] < record["count"]


def _speaker() -> Any:
    rows = [{"input_ids": [2, 5, 6, 7 + i % 4], "labels": [-100, -100, 6, 7 + i % 4]} for i in range(8)]
    train = TrainConfig(steps=1, batch_size=8)
    return bayespeft.fit(networks.llama(), rows, likelihood="language_modelling", train=train, progress=False)


def _flat(work: str, count: int, do: Callable[[int], None]) -> dict[str, Any]:
    process, share = psutil.Process(), max(1, count // PARTS)
    levels = []
    for _ in range(PARTS):
        do(share)
        gc.collect()
        levels.append((process.memory_info().rss, process.num_fds(), len(gc.get_objects())))
    first, last = levels[0], levels[-1]
    return {
        "work": work,
        "count": share * PARTS,
        "memory": first[0],
        "grown": last[0] - first[0],
        "descriptors": last[1] - first[1],
        "objects": last[2] - first[2],
    }
