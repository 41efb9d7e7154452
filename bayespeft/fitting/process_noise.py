"""The noise of one process of an own loop: a stream that begins at the first loss, and that a saved state takes up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bayespeft.errors import CheckpointError
from bayespeft.utils.processes import rank
from bayespeft.utils.randomness import Stream

# The seeds of two processes lie this far apart, and those of two beginnings of one process; both distances are primes.
PROCESSES_APART, STEPS_APART = 1_000_003, 7_919


class ProcessNoise:
    """The random numbers of this process, those of `fit` in the first process of a group.

    The stream is made when it is first asked for: engines tell late which process this is, and where the network runs.

    Args:
        seed: of the fit.
        saved: what `state` returned in some process, or None.

    Raises:
        CheckpointError: `saved` is nothing that `state` returns.
    """

    def __init__(self, seed: int, saved: Any = None) -> None:
        if saved is not None and (not isinstance(saved, Mapping) or saved.keys() != {"process", "states"}):
            raise CheckpointError(f"the state's noise is {saved!r:.80}, which no process saved: load another state.")
        self._seed, self._saved = seed, saved
        self._stream: Stream | None = None

    def stream(self, device: torch.device, done: int) -> Stream:
        """Return the stream, which goes on from the saved state where this process saved it.

        Args:
            device: where the network runs.
            done: optimiser steps so far.

        Raises:
            CheckpointError: the state was saved on another kind of device.
        """
        if self._stream is None:
            number = rank()
            saved = None if self._saved is None or self._saved["process"] != number else self._saved["states"]
            # A state of another process has gone on from elsewhere: begin at another place than at the first step.
            begun = Stream(self._seed + PROCESSES_APART * number + (STEPS_APART * done if saved is None else 0), device)
            if saved is not None:
                begun.restore(saved)
            self._stream = begun
        return self._stream

    def state(self) -> Any:
        """Return where the stream stands and whose it is, as plain containers; None before its beginning."""
        if self._stream is None:
            return self._saved
        return {"process": rank(), "states": self._stream.state()}
