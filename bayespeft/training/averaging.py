"""Averaging over the path of a run, so that a learning rate that never falls ends where a falling one would.

With weights that grow as t^g the average is the last iterate's, smoothed over a fraction 1 / (g + 1) of the steps so far,
whatever their number (Shamir and Zhang 2013, arXiv 1212.1824, section 4): any step may be the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class PathAverage:
    """The mean of the iterates of some parameters, step t weighed by about t^power.

    Args:
        parameters: what is trained; the average starts at what they are now.
        power: g; 0 keeps no average, and `applied` leaves the last iterate.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], power: float) -> None:
        self._parameters, self._power = list(parameters), power
        self._means = [p.detach().clone() for p in self._parameters] if power else []

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the iterate after `step` steps, counted from 1."""
        share = (self._power + 1) / (step + self._power)
        for mean, parameter in zip(self._means, self._parameters, strict=False):
            mean.lerp_(parameter, share)

    @torch.no_grad()
    def adopt(self) -> None:
        """Give the parameters their averages, for good."""
        for mean, parameter in zip(self._means, self._parameters, strict=False):
            parameter.copy_(mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the parameters their averages inside the block."""
        before = [p.detach().clone() for p in self._parameters] if self._power else []
        self.adopt()
        try:
            yield
        finally:
            with torch.no_grad():
                for value, parameter in zip(before, self._parameters, strict=False):
                    parameter.copy_(value)

    def follow(self) -> None:
        """Go to where the parameters are now, if they were moved to another device."""
        self._means = [mean.to(p.device) for mean, p in zip(self._means, self._parameters, strict=False)]

    def state(self) -> list[Tensor]:
        """Return the averages, in the order of the parameters."""
        return self._means

    def restore(self, means: list[Tensor]) -> None:
        """Take up averages that `state` returned."""
        for mean, value in zip(self._means, means, strict=True):
            mean.copy_(value)
