"""A training run that survives being killed: its whole state on disk every so often, and the way back to it.

The state is all that decides what comes next: variational parameters, the optimiser's moments, the learning-rate schedule,
random states, what was merged into the weights, and the records so far. The order of the data is replayed from its seed.
A run that is resumed on the same machine, with as many threads, is bit-equal to one that was never interrupted. Elsewhere it
goes on from the same numbers, and sums round otherwise from there on.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bayespeft.data.examples import Examples
from bayespeft.errors import CheckpointError, ConfigError, FileError
from bayespeft.layers.architecture import NUMBERS
from bayespeft.layers.factors import StackedFactor
from bayespeft.layers.fingerprint import fingerprint
from bayespeft.methods.base import Method
from bayespeft.training.problem import Problem
from bayespeft.training.usable import usable
from bayespeft.utils import files

MARK = b"bayespeft training state 3\n"


@dataclass
class Checkpoint:
    """Where the state of one run is kept.

    Attributes:
        path: the file.
        every: steps between two states.
        key: what the fit is: a state of another fit is refused.
        carried: seconds of training that the state which was read had behind it.
    """

    path: Path
    every: int
    key: str
    carried: float = 0.0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"checkpoint_every={self.every}: steps between two checkpoints, at least 1.")

    def due(self, done: int, steps: int) -> bool:
        """Whether a state is written after `done` steps; always after the last."""
        return done % self.every == 0 or done == steps

    def check_room(self, numbers: int) -> None:
        """Check before the first step that there is room for a state, and the next one beside it.

        Args:
            numbers: that are trained; a state holds them, an average, two moments of the optimiser, and those found best.

        Raises:
            CheckpointError: there is none.
        """
        try:
            files.check_room(self.path, 2 * (5 * 4 * numbers + 2**16))
        except FileError as error:
            raise CheckpointError(f"states of the training: {error}") from None

    def write(self, state: Mapping[str, Any]) -> None:
        """Write a state in place of the one before, which a crash leaves.

        Raises:
            CheckpointError: it can't be written, as on a full disk.
        """
        content = io.BytesIO()
        torch.save({"key": self.key, **state}, content)
        try:
            whole = b"".join((MARK, files.digest(content.getvalue()).encode(), b"\n", content.getvalue()))
            files.write_atomic(self.path, whole)
        except FileError as error:
            raise CheckpointError(f"the state after step {state['done']}: {error}") from None

    def read(self) -> dict[str, Any] | None:
        """Return the state, or None where there is none.

        Raises:
            CheckpointError: the file is damaged, of another format, or of another fit.
        """
        if not self.path.is_file():
            return None
        try:
            mark, said, content = self.path.read_bytes().split(b"\n", 2)
            whole = mark + b"\n" == MARK and files.digest(content) == said.decode()
        except (OSError, ValueError) as error:
            raise CheckpointError(f"'{self.path}' is damaged or no state ({error}): delete it to start anew.") from None
        if not whole:
            raise CheckpointError(f"'{self.path}' is damaged, or of another version: delete it to start anew.")
        with usable(self.path):
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            key, carried = state["key"], float(state["history"]["seconds"])
        if key != self.key:
            raise CheckpointError(
                f"'{self.path}' belongs to another fit (other settings, layers, data, start, seed, or base network). Name "
                "another directory, or delete it to start anew."
            )
        self.carried = carried
        return state


class States:
    """The folder of a fit's states: one file for each of its runs, in their order."""

    def __init__(
        self, directory: str | os.PathLike[str], every: int, method: Method, model: nn.Module, start: str = ""
    ) -> None:
        """Name the folder and what the states belong to.

        Args:
            directory: the folder.
            every: optimiser steps between two states.
            method: the settings.
            model: the network as it is before the first run: later ones may have merged into its weights.
            start: a digest of the posterior that the fit starts at.
        """
        self._directory, self._every = Path(directory), every
        self._method = method.model_dump(mode="json")
        self._base, self._start = {name: _rounded(entry) for name, entry in fingerprint(model).items()}, start
        self._runs: list[Checkpoint] = []
        self._digest = cache(Examples.digest)

    @property
    def carried(self) -> float:
        """Seconds of training that the states which were read had behind them."""
        return sum(run.carried for run in self._runs)

    def of_next_run(self, problem: Problem, validation: Examples | None) -> Checkpoint:
        """Return where the state of the next run is kept; its key says what of: settings, network, data, start."""
        key = [
            self._method,
            problem.train.model_dump(mode="json"),
            problem.likelihood.model_dump(mode="json"),
            {p.layer.name: p.adapter.model_dump(mode="json") for p in problem.attachment.placements},
            {stack.name: [list(stack.layers), _begins(stack)] for stack in problem.stacks},
            [problem.seed, self._start],
            # A start brings its own heads, whatever the network's are.
            {
                name: entry
                for name, entry in self._base.items()
                if not (self._start and name.startswith(_heads(problem) or ("\0",)))
            },
            [self._digest(problem.examples), None if validation is None else self._digest(validation)],
        ]
        path = self._directory / f"run-{len(self._runs)}.pt"
        hashed = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self._runs.append(Checkpoint(path, self._every, hashed))
        return self._runs[-1]


def _begins(stack: StackedFactor) -> list[list[str]]:
    """Return what tells where training of a stack begins, layer by layer, in digits that all machines give alike.

    It follows from what the key has besides. The last digits, and the signs of singular vectors, are the machine's; a state
    brings those of the machine that wrote it.
    """
    tensors = (stack.init, stack.center)
    return [[f"{size:.3e}" for size in tensor.double().flatten(1).norm(dim=1).tolist()] for tensor in tensors]


def _rounded(entry: str) -> str:
    """Return an entry of a fingerprint with the digits of a computed buffer that all machines give alike."""
    if not entry.startswith(NUMBERS):
        return entry
    shape, _, values = entry.partition(": ")
    return f"{shape}: {' '.join(f'{float(value):.3e}' for value in values.split())}"


def _heads(problem: Problem) -> tuple[str, ...]:
    return tuple(f"{p.layer.name}." for p in problem.attachment.placements if p.head)


def snapshot(problem: Problem, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state of a problem and its optimiser, as plain containers of tensors and numbers."""
    merged = None if problem.started else problem.attachment.merged
    layers = {p.layer.name: p.layer for p in problem.attachment.placements}
    return {
        # Centers are no part of the state, but a merge moves them.
        "joint_guide": dict(problem.joint_guide.state_dict()),
        "centers": {name: b for name, b in problem.joint_guide.named_buffers() if name.startswith("center_")},
        "optimiser": optimiser.state_dict(),
        "merged": {} if merged is None else merged.state(layers),
        "merged_steps": {} if merged is None else merged.steps(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


@torch.no_grad()
def restore(problem: Problem, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put a problem and its optimiser into a state that `snapshot` returned; the network has its original weights.

    Raises:
        CheckpointError: what was merged does not fit the network.
    """
    problem.joint_guide.load_state_dict(state["joint_guide"], strict=True)
    for name, value in state["centers"].items():
        problem.joint_guide.get_buffer(name).copy_(value)
    optimiser.load_state_dict(state["optimiser"])
    if problem.attachment.merged is not None:
        layers = {p.layer.name: p.layer for p in problem.attachment.placements}
        problem.attachment.merged.redo(state["merged"], state["merged_steps"], layers)
    torch.set_rng_state(state["random"])
    if state["random_cuda"]:
        torch.cuda.set_rng_state_all(state["random_cuda"])
