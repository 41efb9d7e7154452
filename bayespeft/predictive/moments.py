"""Running means and variances over draws, merged chunk by chunk (Chan, Golub & LeVeque 1983): a large mean costs no digits."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Mean and variance over draws of what each draw says, for each of n examples.

    Args:
        n: examples.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._count = torch.zeros(n, dtype=torch.float64)
        self._mean: Tensor | None = None
        self._squares = torch.empty(0)

    def add(self, values: Tensor, index: Tensor) -> None:
        """Add what some draws say of some examples, (draws, rows, ...)."""
        if self._mean is None:
            self._mean = torch.zeros(self._n, *values.shape[2:], dtype=torch.float64)
            self._squares = torch.zeros_like(self._mean)
        before = self._count[index].reshape(-1, *[1] * (values.dim() - 2))
        added = len(values)
        share = added / (before + added)
        own = values.mean(0)
        step = own - self._mean[index]
        self._mean[index] += step * share
        self._squares[index] += (values - own).square().sum(0) + step.square() * before * share
        self._count[index] += added

    @property
    def mean(self) -> Tensor:
        """(n, ...)."""
        assert self._mean is not None
        return self._mean

    def variance(self, draws: int) -> Tensor:
        """Return the variance over so many draws, (n, ...)."""
        return self._squares / draws
