"""Processes killed by SIGKILL while they save, train, or append a result: what is on the disk afterwards."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.compare.results import Results
from paper_repro.trust.outcome import Tally
from paper_repro.trust.subject import ONE_FIT, Subject, probs
from tests.compare.conftest import made_up

FITS = ("melora", "blob", "map", "laplace_lora", "ensemble", "tfb")


def kills(subject: Subject, count: int, seed: int = 0) -> list[Tally]:
    """Return what was left after so many kills of each kind (of fits: half as many)."""
    generator = random.Random(seed)
    return [
        _saves(subject, count, generator),
        _appends(subject, count, generator),
        _fits(subject, count // 2, generator),
    ]


def _child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def _killed(child: int, after: float) -> bool:
    """Kill a process after some seconds of its own CPU; whether it was still there."""
    ticks = os.sysconf("SC_CLK_TCK")
    while True:
        done, _ = os.waitpid(child, os.WNOHANG)
        if done:
            return False
        try:
            used = sum(map(int, Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[11:13])) / ticks
        except OSError:
            used = after
        if used >= after:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.002)


def _saves(subject: Subject, count: int, generator: random.Random) -> Tally:
    tally = Tally("kills of a process that saves over a posterior")
    folder = subject.copy(subject.posterior)
    posterior = bayespeft.load(folder, subject.network)

    def work() -> None:
        while True:
            posterior.save(folder)

    for number in range(count):
        _killed(_child(work), generator.uniform(0.0, 0.05))
        tally.attempt(f"kill {number}", lambda: subject.loaded(folder), subject.expected)
    posterior.save(folder)
    if len(os.listdir(folder)) != 2:  # the next save sweeps what the killed ones left
        tally.note("silent", f"strays: {os.listdir(folder)}")
    return tally


def _appends(subject: Subject, count: int, generator: random.Random) -> Tally:
    tally = Tally("kills of a process that appends results")
    results, run = Results(subject.folder / "runs"), made_up("a")

    def work() -> None:
        for seed in range(10**9):
            results.append({**run, "seed": seed})

    for number in range(count):
        shutil.rmtree(results.folder, ignore_errors=True)
        _killed(_child(work), generator.uniform(0.0, 0.05))
        whole = results.path.read_bytes().count(b"\n") if results.path.exists() else 0
        tally.attempt(f"kill {number}", lambda: torch.tensor(len(results.read())), torch.tensor(whole))
    return tally


def _fits(subject: Subject, count: int, generator: random.Random) -> Tally:
    tally = Tally("kills of a fit, which goes on from its state")
    settings = {**ONE_FIT, "train": TrainConfig(steps=60, batch_size=20)}
    for name in FITS:
        state = subject.folder / f"killed-{name}"
        expected = probs(bayespeft.fit(subject.network, subject.data, name, **settings), subject.data)
        killed = 0

        def work(at: Path = state, method: str = name) -> None:
            bayespeft.fit(subject.network, subject.data, method, checkpoint=at, checkpoint_every=3, **settings)

        while killed < max(1, count // len(FITS)):
            if _killed(_child(work), generator.uniform(0.02, 0.2)):
                killed += 1
            else:
                shutil.rmtree(state, ignore_errors=True)  # it was through: from the start, then
        tally.attempt(
            name,
            lambda at=state, method=name: probs(
                bayespeft.fit(subject.network, subject.data, method, checkpoint=at, **settings), subject.data
            ),
            expected,
        )
        if tally.harmless[-1:] == [name]:
            tally.counts["same"] += killed - 1  # all of these kills led to one result
    return tally
