"""Where draws come from: standard normal noise that a guide turns into weights. Plain, antithetic, or quasi-random.

- plain: independent draws.
- antithetic: every draw is followed by its mirror image, which cancels all that is odd in the noise.
- sobol: a scrambled Sobol sequence (Owen 1998) through the normal quantile function: it fills the space evenly, and the
  error of an average falls faster than 1 / sqrt(draws) where few directions matter. Best at powers of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.predictive.average import REPLICATES

Sampling = Literal["plain", "antithetic", "sobol"]
SOBOL_REPLICATE = 8
UNITS: dict[Sampling, int] = {"plain": 1, "antithetic": 2, "sobol": SOBOL_REPLICATE}
"""Draws in a row that belong together, where draws are independent at all."""

# Scrambled points can fall on 0, whose quantile is infinite; scipy's own resolution is 2^-30.
SMALLEST = 2.0**-31
# Numbers in a vector of a Sobol sequence, at most: scipy's own limit.
MOST = 21201


class Noise:
    """An endless sequence of standard normal vectors; the first k of n are the k of the same seed.

    Args:
        kind: plain, antithetic or sobol.
        size: numbers in a vector.
        seed: of the sequence.
        replicates: scramble a Sobol sequence anew after every few points, so that its error can be estimated.

    Attributes:
        unit: how many vectors in a row belong together; units are independent of each other. None where only one is made.

    Raises:
        ConfigError: there is no such kind, or a vector is too long for a Sobol sequence.
    """

    def __init__(self, kind: Sampling, size: int, seed: int, *, replicates: bool = False) -> None:
        if kind not in get_args(Sampling):
            raise ConfigError(f"sampling={kind!r}: {', '.join(get_args(Sampling))}.")
        if kind == "sobol" and size > MOST:
            raise ConfigError(
                f"sampling='sobol' reaches {MOST:,} random numbers a draw, and here a draw takes {size:,}: use "
                "sampling='antithetic', or a posterior over fewer numbers, such as the r x r cores of melora; where a "
                "linearised prediction has so many outputs to draw, prediction='sampled'."
            )
        self.kind, self.size = kind, size
        self.unit = None if kind == "sobol" and not replicates else UNITS[kind]
        self._generator = torch.Generator().manual_seed(seed)
        self._random = np.random.default_rng(seed)
        self._waiting: list[Tensor] = []
        self._engine: Any = None
        self._taken = 0

    def take(self, n: int) -> Tensor:
        """Return the next n vectors: (n, size) float32, on the CPU."""
        while len(self._waiting) < n:
            self._waiting.extend(self._more(n - len(self._waiting)))
        taken, self._waiting = self._waiting[:n], self._waiting[n:]
        return torch.stack(taken) if taken else torch.zeros(0, self.size)

    def _more(self, wanted: int) -> list[Tensor]:
        if self.size == 0:
            return [torch.zeros(0)]
        if self.kind == "sobol":
            return self._points(wanted)
        draw = torch.randn(self.size, generator=self._generator)
        return [draw, -draw] if self.kind == "antithetic" else [draw]

    def _points(self, wanted: int) -> list[Tensor]:
        """Return the next points of the sequence, in blocks of doubling length, as the sequence is balanced there."""
        if self._engine is None or self.unit:
            from scipy.stats import qmc  # slow to import

            self._engine, self._taken = qmc.Sobol(self.size, scramble=True, rng=self._random), 0
        # A block costs what starting it costs: the first is as long as all that is wanted, or half as long at least.
        block = self.unit or self._taken or 1 << (wanted.bit_length() - 1)
        # scipy warns wherever the total is no power of two; doubling blocks keep it one.
        points = np.atleast_2d(self._engine.random(block))
        self._taken += block
        normal = ndtri(np.clip(points, SMALLEST, 1 - SMALLEST))
        return list(torch.from_numpy(normal).float())


@dataclass(frozen=True, slots=True)
class Replicates:
    """Standard normals that outputs are drawn with: `REPLICATES` Sobol sequences, each scrambled for itself.

    Attributes:
        seed: of the sequences.
        draws: in all of them together.
    """

    seed: int
    draws: int

    def of_size(self, outputs: int) -> Tensor:
        """Return (draws, outputs) float32, replicate after replicate."""
        return _normals(self.seed, self.draws, outputs)


@lru_cache(maxsize=4)
def _normals(seed: int, draws: int, outputs: int) -> Tensor:
    """Return the normals of `Replicates`; batches and calls of one seed take the same, and scrambling costs more than a row."""
    seeds = np.random.SeedSequence(seed).generate_state(REPLICATES)
    return torch.cat([Noise("sobol", outputs, int(one)).take(max(draws // REPLICATES, 1)) for one in seeds])
